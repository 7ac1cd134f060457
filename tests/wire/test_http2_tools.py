"""HTTP/2 through the proxy, judged by others' tools: h2spec, curl, nghttp, h2load and grpcurl, the last with a server of
grpcio's as backend."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.support.loopback import APP
from tests.wire.proxy_rig import eventually
from tests.wire.test_http2 import http1_backend, listening
from tests.wire.test_second_codec import stage

TOOLS = Path(__file__).parents[2] / "build" / "tools" / "bin"
CASES = 146
EXCEPTIONS = {"Sends invalid connection preface"}
"""What begins otherwise is HTTP/1 on this port, and is answered in that protocol before the connection ends."""
HEALTH = "grpc.health.v1.Health"
needs_clients = pytest.mark.skipif(not (TOOLS / "h2spec").exists(), reason="built by `make clients`, which needs go")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_nghttp = pytest.mark.skipif(shutil.which("nghttp") is None, reason="nghttp is not installed")
needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")


async def run(*command: str | Path, within: float = 100.0) -> tuple[int, str]:
    """A tool's exit code, and all that it says."""
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said, _ = await asyncio.wait_for(process.communicate(), within)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, said.decode()


@needs_clients
@pytest.mark.timeout(120)
async def test_every_case_of_h2spec() -> None:
    async with stage() as made, listening(made) as port:
        made.proxy.set_table(RoutingTable([Route(app=APP, target=Target(APP), rules=(Rule(hosts=("127.0.0.1",)),))]))
        await made.up(http1_backend, None)
        code, said = await run(TOOLS / "h2spec", "--strict", "--host", "127.0.0.1", "--port", str(port))
        failed = set(re.findall(r"× \d+: (.*)", said))
        assert failed == EXCEPTIONS
        assert re.search(rf"{CASES} tests, {CASES - len(failed)} passed, 0 skipped, {len(failed)} failed", said), said[-2000:]
        assert code == 1
        await eventually(lambda: not made.proxy.clients)
        await eventually(lambda: made.proxy.apps[APP].entry.in_flight == 0)
        assert made.asked


@needs_curl
async def test_curl_that_knows_and_curl_that_asks() -> None:
    async with stage() as made, listening(made) as port:
        await made.up(http1_backend, None)
        usual = ("curl", "-sS", "-o", "-", "-w", "\n%{http_version}", "-H", "Host: a.test", f"http://127.0.0.1:{port}/x")
        for options, version in (("--http2-prior-knowledge",), "2"), (("--http2",), "1.1"), (("--http1.1",), "1.1"):
            code, said = await run(*usual, *options)
            assert (code, said.splitlines()[0], said.splitlines()[-1]) == (0, "GET /x HTTP/1.1", version)
        code, said = await run(*usual, "--http2-prior-knowledge", "-d", "a" * 100_000)
        assert (code, said.count("a" * 100_000)) == (0, 1)


@needs_nghttp
async def test_nghttp_gets_and_posts_several_at_once(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"a" * 200_000)
    async with stage() as made, listening(made) as port:
        await made.up(http1_backend, None)
        base = f"http://127.0.0.1:{port}"
        addresses = [f"{base}/{n}" for n in range(20)]
        code, said = await run("nghttp", "-nv", "-H", ":authority: a.test", *addresses)
        assert (code, said.count(":status: 200")) == (0, 20), said[-2000:]
        for padding in ("0", "100"):
            posted = ("-d", content, "-b", padding, "-H", ":authority: a.test", "-H", "trailer: x-end", "--trailer", "x-end: 1")
            code, said = await run("nghttp", *posted, f"{base}/post")
            assert (code, said.count("a" * 200_000)) == (0, 1), said[-2000:]
        assert len(made.asked) == 22


@needs_h2load
async def test_every_answer_to_h2load_is_200() -> None:
    async with stage() as made, listening(made) as port:
        await made.up(http1_backend, None)
        usual = ("h2load", "-n", "600", "-c", "4", "-m", "16", "-H", ":authority: a.test", f"http://127.0.0.1:{port}/x")
        for options in ((), ("-d", __file__), ("-w", "10", "-W", "12")):
            code, said = await run(*usual, *options)
            assert code == 0, said[-2000:]
            assert "600 total, 600 started, 600 done, 600 succeeded, 0 failed, 0 errored, 0 timeout" in said, said[-2000:]
            assert "status codes: 600 2xx, 0 3xx, 0 4xx, 0 5xx" in said, said[-2000:]
        assert len(made.asked) == 1800


@asynccontextmanager
async def grpc_backend() -> AsyncIterator[Backend]:
    """Health and reflection."""
    server: Any = grpc.aio.server()
    service = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
    await service.set("shop", health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((HEALTH, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Backend("127.0.0.1", port, "kubernetes.io/h2c")
    finally:
        await server.stop(None)


@needs_clients
async def test_grpcurl_with_a_real_server() -> None:
    async with stage() as made, listening(made) as port, grpc_backend() as backend:
        usual = (TOOLS / "grpcurl", "-plaintext", "-authority", "a.test")
        address = f"127.0.0.1:{port}"
        waiting = asyncio.create_task(run(*usual, address, "list"))
        await eventually(lambda: APP in made.proxy.apps and made.proxy.apps[APP].entry.held)
        made.backends.set(APP, [backend])  # a cold start
        code, said = await waiting
        assert (code, said.split()) == (0, [HEALTH, "grpc.reflection.v1alpha.ServerReflection"])
        code, said = await run(*usual, "-d", '{"service": "shop"}', address, f"{HEALTH}/Check")
        assert (code, "SERVING" in said) == (0, True)
        code, said = await run(*usual, "-d", '{"service": "none"}', address, f"{HEALTH}/Check")
        assert (code != 0, "Code: NotFound" in said) == (True, True)  # the backend's own
        code, said = await run(*usual, "-max-time", "1", "-d", '{"service": "shop"}', address, f"{HEALTH}/Watch")
        assert ("SERVING" in said, "DeadlineExceeded" in said) == (True, True)
        assert made.proxy.apps[APP].entry.requests_total >= 4
        code, said = await run(TOOLS / "grpcurl", "-plaintext", "-authority", "b.test", address, "list")
        assert (code != 0, "Unimplemented" in said or "does not support the reflection" in said) == (True, True), said


async def test_a_channel_of_grpcio() -> None:
    async with stage() as made, listening(made) as port, grpc_backend() as backend:
        made.backends.set(APP, [backend])
        options = [("grpc.default_authority", "a.test")]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            check = stub.Check
            asked = health_pb2.HealthCheckRequest(service="shop")
            answers = await asyncio.gather(*(check(asked, timeout=100) for _ in range(100)))
            assert {answer.status for answer in answers} == {health_pb2.HealthCheckResponse.SERVING}
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await check(health_pb2.HealthCheckRequest(service="none"), timeout=100)
            assert failed.value.code() is grpc.StatusCode.NOT_FOUND
        options = [("grpc.default_authority", "b.test")]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            check = stub.Check
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await check(asked, timeout=100)
            assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
