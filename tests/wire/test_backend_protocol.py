"""Backends that speak only HTTP/2, and of which nobody has said so: clients, the log and the pages are told what to set."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import msgspec
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fleet import defaults
from fleet.discovery.sources import Backend
from fleet.routing.route import Protection
from tests.support.loopback import APP, route
from tests.support.raw_requests import get
from tests.wire.proxy_backend import BackendPeer
from tests.wire.proxy_rig import Rig, proxy_rig
from tests.wire.test_http2_tools import grpc_backend

SETTINGS = b"\0\0\6\4\0\0\0\0\0\0\4\0\1\0\0"
GOAWAY = b"\0\0\x08\7\0\0\0\0\0" + bytes(7) + b"\1"
OTHER = b"\0\0\6\4\0\0\0\0\1"
"""SETTINGS of a stream, which no server sends."""
PROBED = msgspec.structs.replace(route(readiness=0.5), protection=Protection(readiness_path="/ready"))
HINT = defaults.SPEAKS_HTTP2.encode()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if defaults.SPEAKS_HTTP2 in record.getMessage()]


@pytest.mark.parametrize("first", [SETTINGS, GOAWAY, SETTINGS[:4]], ids=["SETTINGS", "GOAWAY", "the beginning of a frame"])
async def test_a_backend_that_answers_by_http2(first: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(first)
        await peer.read_to_end()

    async with proxy_rig(answer) as rig:
        for _ in range(2):
            reply = await (await rig.client()).ask(get())
            assert (reply.status, HINT in reply.body) == (502, True)
        assert len(rig.backends[0].peers) == 2  # once for each request: it would say the same again
        assert rig.app.endpoints.last_error == defaults.SPEAKS_HTTP2
        assert [line.replace(rig.backends[0].backend.host, "") for line in told(caplog)] == [
            f"backend :{rig.backends[0].backend.port} of {APP}: {defaults.SPEAKS_HTTP2}"
        ]


async def test_a_backend_that_speaks_first_and_leaves(caplog: pytest.LogCaptureFixture) -> None:
    """Servers of gRPC say their SETTINGS before anything is asked, which may be read before the request is sent."""

    async def greet(peer: BackendPeer) -> None:
        peer.send(SETTINGS)
        await peer.read_to_end()

    async with proxy_rig(greet) as rig:
        reply = await (await rig.client()).ask(get())
        assert (reply.status, HINT in reply.body) == (502, True)
        assert len(told(caplog)) == 1


@pytest.mark.parametrize("first", [OTHER, b"\0\0\6\5\0\0\0\0\0", b"\1\0\6\4\0\0\0\0\0", b"\0\0\6", b"SSH-2.0-x\r\n"])
async def test_what_is_not_http2_is_not_taken_for_it(first: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(first)
        await peer.read_to_end()

    async with proxy_rig(answer) as rig:
        reply = await (await rig.client()).ask(get())
        assert (reply.status, b"malformed response: " in reply.body) == (502, True)
        assert not told(caplog)


async def test_a_backend_that_answers_by_http1(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, proxy_rig(backends=0) as rig:
        port: int = server.sockets[0].getsockname()[1]
        rig.sources.set(APP, [Backend("127.0.0.1", port, "kubernetes.io/h2c")])
        for _ in range(2):
            reply = await (await rig.client()).ask(get())
            assert (reply.status, b"does not speak HTTP/2" in reply.body) == (502, True)
        why = "the backend does not speak HTTP/2, although its appProtocol (kubernetes.io/h2c) is HTTP/2"
        assert rig.app.endpoints.last_error == why
        assert [line.partition(f" of {APP}: ")[2] for line in caplog.messages if why in line] == [why]


async def test_a_probe_that_is_answered_by_http2(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(SETTINGS)
        await peer.read_to_end()

    caplog.set_level(logging.INFO)
    async with proxy_rig(answer, routes=[PROBED]) as rig:
        reply = await (await rig.client()).ask(get())
        assert (reply.status, HINT in reply.body) == (504, True)
        assert (
            sum(line.startswith(f"backend {rig.backends[0].backend.host}:") for line in told(caplog)) == 2
        )  # not ready, and why


@pytest.mark.parametrize("protocol", [None, "http"])
async def test_a_call_of_grpc_to_a_real_server(protocol: str | None) -> None:
    """grpcio's client and server. What the server says first is read before or after the request is sent."""
    async with proxy_rig(backends=0, settle=False) as rig, grpc_backend() as backend:  # the channel may linger
        rig.sources.set(APP, [Backend(backend.host, backend.port, protocol)])
        options = [("grpc.default_authority", "a.test")]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.interceptor.proxy_port}", options=options) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            for _ in range(5):
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await stub.Check(health_pb2.HealthCheckRequest(service="shop"), timeout=100)
                assert failed.value.code() is grpc.StatusCode.INTERNAL
                assert failed.value.details() == defaults.SPEAKS_HTTP2
        assert (await _get(rig)) == (502, True)


async def _get(rig: Rig) -> tuple[int, bool]:
    reply = await (await rig.client()).ask(get())
    return reply.status, HINT in reply.body
