"""The overlay with certificates on a running fleet: scaling still works, and clients without a certificate are refused."""

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import grpc
import pytest

from protos.externalscaler.externalscaler_pb2 import ScaledObjectRef
from protos.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from protos.weir.interceptor.v1.queue_pb2 import GetQueueSizesRequest
from protos.weir.interceptor.v1.queue_pb2_grpc import QueueServiceStub
from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import ROOT, Cluster
from tests.cluster.objects import create_app
from tests.cluster.weir import NAMESPACE, Weir, http_scaled_object, until_condition

CERTIFICATES = ROOT / "deploy" / "components" / "tls" / "certificates"


@pytest.fixture
async def secured(cluster: Cluster, weir: Weir, api: Api) -> AsyncIterator[Weir]:
    """The fleet with certificates, which are removed afterwards."""
    made = await asyncio.to_thread(subprocess.run, [CERTIFICATES], check=True, capture_output=True, text=True)
    await cluster.kubectl("apply", "-f", "-", stdin=made.stdout)
    await Weir.install(cluster, "tls")
    await weir.until_ready(api)
    yield weir
    await Weir.install(cluster)
    await weir.until_ready(api)


async def test_the_loop_closes_with_certificates(secured: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web"))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    assert (await secured.get(f"web.{namespace}")).status == 200

    scaler = await api.get(namespaced("services", NAMESPACE, "weir-scaler"))
    own = await _certificate(api)
    await _answers_only(own, f"{scaler['spec']['clusterIP']}:9091", "weir-scaler", _ask_scaler)
    for pod in await _interceptors(api):
        await _answers_only(own, f"{pod['status']['podIP']}:9090", "weir-interceptor-rpc", _ask_interceptor)


class Certificate(NamedTuple):
    """A certificate and its key and authority, in PEM."""

    ca: bytes
    key: bytes
    chain: bytes


async def _answers_only(own: Certificate, address: str, name: str, ask: Callable[[grpc.aio.Channel], Awaitable[None]]) -> None:
    """Check that a server answers only clients with a certificate, not plaintext, and not TLS without one."""
    options = (("grpc.ssl_target_name_override", name),)
    async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*own), options=options) as channel:
        await ask(channel)
    for stranger in (
        grpc.aio.insecure_channel(address),
        grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(own.ca), options=options),
    ):
        async with stranger:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask(stranger)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def _ask_scaler(channel: grpc.aio.Channel) -> None:
    """Ask about an unknown application: any response of the scaler is enough."""
    reference = ScaledObjectRef(name="none", namespace="none", scalerMetadata={"app": "none/none"})
    try:
        await ExternalScalerStub(channel).GetMetricSpec(reference, timeout=60)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise


async def _ask_interceptor(channel: grpc.aio.Channel) -> None:
    await QueueServiceStub(channel).GetQueueSizes(GetQueueSizesRequest(), timeout=60)


async def _certificate(api: Api) -> Certificate:
    """The controller's certificate."""
    data = (await api.get(namespaced("secrets", NAMESPACE, "weir-controller-tls")))["data"]
    return Certificate(*(base64.b64decode(data[key]) for key in ("ca.crt", "tls.key", "tls.crt")))


async def _interceptors(api: Api) -> list[Object]:
    pods = await api.list(namespaced("pods", NAMESPACE), labelSelector="app.kubernetes.io/component=interceptor")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
