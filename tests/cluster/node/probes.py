"""One probe of a container: by TCP, HTTP, gRPC health or a command. Succeeds or fails within its time limit."""

import asyncio
import contextlib
import functools

import httpx
from grpc import RpcError, aio
from grpc_health.v1 import health_pb2

from tests.cluster.api import Object
from tests.cluster.node.spec import port_number

__all__ = ["probe", "run_inside"]


async def probe(wanted: Object, container: Object, address: str, pid: int) -> bool:
    """Whether the container passes it now."""
    try:
        async with asyncio.timeout(float(wanted.get("timeoutSeconds", 1))):
            return await _ask(wanted, container, address, pid)
    except (OSError, httpx.HTTPError, RpcError):  # TimeoutError is an OSError
        return False


async def run_inside(pid: int, command: list[str]) -> int:
    """Run a command in a container's network and file system; returns the exit code."""
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net=/proc/{pid}/ns/net", f"--mount=/proc/{pid}/ns/mnt", "--", *command,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise


async def _ask(wanted: Object, container: Object, address: str, pid: int) -> bool:
    if "httpGet" in wanted:
        return await _http(wanted["httpGet"], container, address)
    if "tcpSocket" in wanted:
        _, writer = await asyncio.open_connection(address, port_number(container, wanted["tcpSocket"]["port"]))
        writer.close()
        return True
    if "grpc" in wanted:
        return await _grpc(address, wanted["grpc"])
    return await run_inside(pid, wanted["exec"]["command"]) == 0


async def _http(wanted: Object, container: Object, address: str) -> bool:
    scheme = wanted.get("scheme", "HTTP").lower()
    url = f"{scheme}://{wanted.get('host', address)}:{port_number(container, wanted['port'])}{wanted.get('path', '/')}"
    headers = {header["name"]: header["value"] for header in wanted.get("httpHeaders", ())}
    answer = await _client().get(url, headers=headers)
    return 200 <= answer.status_code < 400


@functools.cache
def _client() -> httpx.AsyncClient:
    """One client for all probes, because creating one takes longer than a probe. Like a kubelet, it checks no certificates."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(verify=False, trust_env=False, timeout=None, limits=limits)  # noqa: S501, S113 - probe() has one


async def _grpc(address: str, wanted: Object) -> bool:
    async with aio.insecure_channel(f"{address}:{wanted['port']}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = await check(health_pb2.HealthCheckRequest(service=wanted.get("service") or ""))
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
