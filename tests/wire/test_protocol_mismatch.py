"""Real clients of TLS and of HTTP/2 at ports that speak neither: one line in the log, which says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl

import pytest

from fleet.runtime.diagnostics import Diagnostics
from tests.support.raw_requests import get
from tests.wire.proxy_rig import proxy_rig

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


async def speak_tls(port: int) -> None:
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context(), server_hostname="a.test")
        writer.close()


LATE = b"GET / HTTP/1.1\r\nHost: none.test\r\n\r\n"
"""On the proxy's port HTTP/2 is spoken, but not after a request of HTTP/1."""


async def speak(port: int, data: bytes, *more: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in (data, *more):
        writer.write(part)
        await asyncio.sleep(0)
    answer = await reader.read()
    writer.close()
    return answer


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(":")[0] for record in caplog.records if record.name.endswith(".protocol_mismatch")]


async def test_the_proxy_tells_once_of_each(caplog: pytest.LogCaptureFixture) -> None:
    async with proxy_rig() as rig:
        port = rig.interceptor.proxy_port
        for _ in range(3):
            await speak_tls(port)
            assert (await speak(port, LATE + PREFACE)).count(b"HTTP/1.1 505 ") == 1
        assert (await speak(port, LATE + PREFACE[:3], PREFACE[3:])).count(b"HTTP/1.1 505 ") == 1
        assert (await speak(port, b"\x00nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert (await (await rig.client()).ask(get())).status == 200
        assert told(caplog) == [
            f"a client at 127.0.0.1 speaks {protocol} to the port for requests ({port}), which speaks plain HTTP/1.1"
            for protocol in ("TLS", "HTTP/2")
        ]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n", b"is not listed in WEIR_PROXY_PROTOCOL"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), b""),
    ],
    ids=["version 1", "version 2"],
)
async def test_a_header_of_a_balancer_that_is_not_listed(header: bytes, why: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with proxy_rig() as rig:
        for _ in range(2):
            answer = await speak(rig.interceptor.proxy_port, header + get())
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert why in answer
        (line,) = [record.getMessage() for record in caplog.records if record.name.endswith(".protocol_mismatch")]
        assert line.startswith("a client at 127.0.0.1 speaks the PROXY protocol to the port for requests")
        assert "WEIR_PROXY_PROTOCOL (proxy_protocol)" in line


async def test_diagnostics_log_each_protocol_once_and_nothing_of_unknown_bytes(caplog: pytest.LogCaptureFixture) -> None:
    diagnostics = Diagnostics("127.0.0.1", 0, not_ready=lambda: None, metrics=lambda: iter(()), pages={})
    port = await diagnostics.start()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await speak_tls(port)
            await speak(port, PREFACE)
            await speak(port, b"\x00nonsense\r\n\r\n")
    await diagnostics.stop()
    assert told(caplog) == [
        f"a client at 127.0.0.1 speaks {protocol} to the port for diagnostics ({port}), which speaks plain HTTP/1.1"
        for protocol in ("TLS", "HTTP/2")
    ]
    assert len(caplog.records) == 2
