"""A connection over TLS has no way to write beneath its transport."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interceptor.http1.client import ClientConnection
from interceptor.http1.over_tls import TlsClientConnection
from interceptor.http2.client import Http2Client, TlsHttp2Client
from interceptor.transport import tcp
from interceptor.transport.tcp import Connection, Outbox
from interceptor.transport.tls import OverTls
from tests.support.proxy_memory import MemoryProxy, MockTransport

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
TRANSPORT = Path(tcp.__file__).parent


class Encrypting(MockTransport):
    """Says that it encrypts, and has room, so that a plain connection would write to the socket."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if name == "sslcontext" else super().get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return 0


@pytest.fixture(autouse=True)
def _no_system_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise AssertionError(f"written beneath the transport: {arguments}")

    monkeypatch.setattr(tcp, "_write", refuse)
    monkeypatch.setattr("interceptor.transport.tcp.os.writev", refuse)
    monkeypatch.setattr(tcp, "_splicer", SimpleNamespace(move=refuse))


async def test_every_way_to_write_goes_through_the_transport() -> None:
    transport = Encrypting(OverTls(Outbox(), deadline=0.0))
    connection: Any = transport.protocol
    connection.write(b"a")
    connection.write_through(b"b")
    connection.write_both(b"c", memoryview(b"d"))
    assert connection.splice(b"e", OverTls(Outbox(), deadline=0.0), 100) == -1
    connection.framer = lambda data: b"<%b>" % data
    assert connection.splice(b"f", object(), 100) == -1
    connection.write(b"g")
    await asyncio.sleep(0)  # the outbox sends at the end of the turn
    assert transport.written == b"abcde<f>g"
    connection.write(b"h")
    connection.close()
    assert transport.written.endswith(b"h")


async def test_nothing_is_moved_out_of_a_tls_connection_inside_the_kernel() -> None:
    source: Any = Encrypting(OverTls(Outbox(), deadline=0.0)).protocol
    target = MockTransport(Connection(Outbox(), deadline=0.0))
    connection: Any = target.protocol
    assert connection.splice(b"first", source, 100) == -1
    assert target.written == b"first"
    assert source._raw == -1


async def test_nothing_is_moved_into_a_tls_connection_inside_the_kernel() -> None:
    source: Any = MockTransport(Connection(Outbox(), deadline=0.0)).protocol
    target = Encrypting(OverTls(Outbox(), deadline=0.0))
    connection: Any = target.protocol
    assert connection.splice(b"first", source, 100) == -1
    assert target.written == b"first"


@pytest.mark.parametrize("plain", [ClientConnection, Http2Client])
async def test_a_plain_connection_refuses_a_transport_that_encrypts(plain: Any) -> None:
    with pytest.raises(TypeError, match="has a transport that encrypts"):
        Encrypting(plain(MemoryProxy().proxy))


@pytest.mark.parametrize("encrypted", [TlsClientConnection, TlsHttp2Client])
async def test_a_connection_over_tls_refuses_a_transport_that_does_not_encrypt(encrypted: Any) -> None:
    with pytest.raises(TypeError, match="has a transport that does not encrypt"):
        MockTransport(encrypted(MemoryProxy().proxy))


async def test_a_request() -> None:
    memory = MemoryProxy(connections=1)
    transport = Encrypting(TlsClientConnection(memory.proxy))
    await memory.deliver(transport, [REQUEST])
    assert b"X-Forwarded-Proto: https\r\n" in memory.received[0]
    await memory.deliver(memory.backends[0], [b"HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 2\r\n\r\nok"])
    assert transport.written.endswith(b"\r\n\r\nok")


def test_system_calls_that_move_bytes_use_the_descriptor_that_tls_has_not() -> None:
    """Every class of connection over TLS is made of OverTls, which has no such call."""
    calls = re.compile(r"(?:\b_write|os\.write|os\.writev|os\.read|_splicer\.move)\(([^)]*)")
    assert not calls.findall((TRANSPORT / "tls.py").read_text())
    found = calls.findall((TRANSPORT / "tcp.py").read_text())
    assert len(found) == 4
    assert all("_raw" in arguments and "_fd" not in arguments for arguments in found), found
