"""Cases about gRPC, and about TLS on the add-on's proxy, which goes on over TLS to the app.

As there, certificates of apps have a short name and are not verified (KEDA_HTTP_PROXY_TLS_SKIP_VERIFY).
"""

import base64
from collections.abc import Mapping
from typing import Any

import grpc

from tests.cluster.addon.case import Case, Run
from tests.cluster.addon.objects import PROXY, PROXY_TLS
from tests.cluster.api import namespaced
from tests.cluster.apps.grpc_echo import SERVICE, messages
from tests.support.certificates import Authority

__all__ = ["AUTHORITY", "CASES", "DOMAIN"]

AUTHORITY = Authority()
"""Of the proxy, and of apps."""
DOMAIN = "addon.test"
"""What the proxy's certificate is for: all names below it."""
H2C = "kubernetes.io/h2c"
PATIENCE = 120
"""Seconds for a call, with the start of its app."""


async def with_certificate(case: Case, app: str) -> str:
    """A Secret with a certificate for the app's name. Returns its name."""
    cert, key = AUTHORITY.issue(app, app)
    data = {name: base64.b64encode(pem).decode() for name, pem in (("tls.crt", cert), ("tls.key", key))}
    secret = {"metadata": {"name": f"{app}-tls"}, "type": "kubernetes.io/tls", "data": data}
    await case.api.create(namespaced("secrets", case.namespace), secret)
    return f"{app}-tls"


class Echo:
    """A client of the app."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.request, answered = messages()
        forms = {"request_serializer": self.request.SerializeToString, "response_deserializer": answered.FromString}
        self._echo: Any = channel.unary_unary(f"/{SERVICE}/Echo", **forms)
        self.stream: Any = channel.stream_stream(f"/{SERVICE}/EchoStream", **forms)

    async def check(self, hostname: str, protocol: str) -> None:
        told = await self._echo(self.request(message="test"), timeout=PATIENCE)
        assert (told.message, told.hostname, told.protocol) == ("test", hostname, protocol)


async def grpc_cleartext(case: Case) -> None:
    """A call starts the app; then a stream in both directions."""
    await case.routed("grpc-app", image="grpc-echo", app_protocol=H2C, rules=[{"hosts": [case.host()]}])
    options = (("grpc.default_authority", case.host()),)
    async with grpc.aio.insecure_channel(await case.resolved(PROXY), options=options) as channel:
        echo = Echo(channel)
        await echo.check("grpc-app", "h2c")
        stream = echo.stream(timeout=PATIENCE)
        for name in ("alice", "bob", "charlie"):
            await stream.write(echo.request(message=name))
            assert (await stream.read()).message == f"hello {name}"
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


async def grpc_over_tls(case: Case) -> None:
    secret = await with_certificate(case, "grpc-tls-app")
    host = f"grpc-tls.{DOMAIN}"
    await case.routed("grpc-tls-app", image="grpc-echo", app_protocol=H2C, secret=secret, rules=[{"hosts": [host]}])
    options = (("grpc.default_authority", host), ("grpc.ssl_target_name_override", host))
    trusting = grpc.ssl_channel_credentials(AUTHORITY.pem)
    async with grpc.aio.secure_channel(await case.resolved(PROXY_TLS), trusting, options=options) as channel:
        await Echo(channel).check("grpc-tls-app", "h2")


async def tls_termination(case: Case) -> None:
    secret = await with_certificate(case, "tls-app")
    host = f"tls-test.{DOMAIN}"
    await case.routed("tls-app", secret=secret, rules=[{"hosts": [host]}])
    answer = await case.send_over_tls(host, AUTHORITY)
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("Hostname: tls-app\n")


CASES: Mapping[str, Run] = {
    "TestGRPC": grpc_cleartext,
    "TestGRPCOverTLS": grpc_over_tls,
    "TestTLSTermination": tls_termination,
}
