"""The PROXY protocol in front of TLS: whose address counts over HTTP/1.1 and HTTP/2, and that only load balancers can say so."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from tests.support.certificates import Authority
from tests.wire.proxy_rig import Rig, eventually
from tests.wire.test_http2_tools import needs_curl, run
from tests.wire.test_proxy_protocol import LINE, forwarded, haproxy, needs_haproxy
from tests.wire.test_tls import GET, port_of, rig_outcomes, tls_rig
from tests.wire.tls_client import connect, trusting

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
ADDRESSES = bytes([203, 0, 113, 7, 10, 0, 0, 1, 1, 1, 2, 2])
LARGE_VALUE = b"\x20" + (3500).to_bytes(2, "big") + bytes(3500)
"""As long as a client's certificate, which HAProxy sends so (PP2_TYPE_SSL)."""
HEADERS = {
    "version 1": (LINE, b"203.0.113.7"),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
    "version 2": (SIGNATURE + b"\x21\x11\x00\x0c" + ADDRESSES, b"203.0.113.7"),
    "version 2, local": (SIGNATURE + b"\x20\x00\x00\x00", b"127.0.0.1"),
    "version 2, values": (
        SIGNATURE + b"\x21\x11" + (len(ADDRESSES) + len(LARGE_VALUE)).to_bytes(2, "big") + ADDRESSES + LARGE_VALUE,
        b"203.0.113.7",
    ),
}
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Speaker:
    """A client over TLS on a blocking socket, which decides itself in which pieces its bytes leave."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname="a.test")

    def begin(self, header: bytes, *, step: int = 0) -> None:
        """Send a header, and the ClientHello in the same piece; or both of them in pieces of `step` bytes."""
        with suppress(ssl.SSLWantReadError):
            self.session.do_handshake()
        first = header + self._outgoing.read()
        for at in range(0, len(first), step or len(first)):
            self.socket.sendall(first[at : at + (step or len(first))])
        while True:
            try:
                self.session.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._exchange()

    def send(self, data: bytes) -> None:
        self.session.write(data)
        self.socket.sendall(self._outgoing.read())

    def receive(self) -> bytes:
        while True:
            try:
                return self.session.read(1 << 16)
            except ssl.SSLWantReadError:
                self._exchange()

    def _exchange(self) -> None:
        if self._outgoing.pending:
            self.socket.sendall(self._outgoing.read())
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError
        self._incoming.write(data)


@contextmanager
def speaker(port: int, context: ssl.SSLContext) -> Iterator[Speaker]:
    made = Speaker(port, context)
    try:
        yield made
    finally:
        made.socket.close()


def ask(port: int, context: ssl.SSLContext, header: bytes, *, step: int = 0, times: int = 2) -> None:
    """Some requests on one connection, over the protocol that is agreed; each must be answered."""
    with speaker(port, context) as client:
        client.begin(header, step=step)
        if client.session.selected_alpn_protocol() == "h2":
            _ask_http2(client, times)
            return
        for _ in range(times):
            client.send(GET)
            said = b""
            while not said.endswith(b"\r\n\r\nok"):
                said += client.receive()
            assert said.startswith(b"HTTP/1.1 200 ")


def _ask_http2(client: Speaker, times: int) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    for number in range(1, 2 * times, 2):
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")]
        connection.send_headers(number, fields, end_stream=True)
    client.send(connection.data_to_send())
    ended = 0
    while ended < times:
        for event in connection.receive_data(client.receive()):
            if isinstance(event, h2.events.ResponseReceived):
                assert (b":status", b"200") in event.headers
            ended += isinstance(event, h2.events.StreamEnded)


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
@pytest.mark.parametrize("header", HEADERS)
async def test_the_address_in_the_header_is_the_clients(authority: Authority, tmp_path: Path, header: str, protocol: str) -> None:
    data, address = HEADERS[header]
    context = trusting(authority, alpn=[protocol])
    async with tls_rig(authority, tmp_path, proxy_protocol="127.0.0.0/8", trusted_proxies="none") as rig:
        await asyncio.to_thread(ask, port_of(rig), context, data)
        assert forwarded(rig) == [address] * 2
        assert {request.get(b"x-forwarded-proto") for request in rig.backends[0].requests} == {b"https"}
        assert rig_outcomes(rig) == {"done": 1}
        assert not rig.interceptor.proxy.refusals


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
@pytest.mark.parametrize("header", ["version 1", "version 2"])
async def test_byte_by_byte(authority: Authority, tmp_path: Path, header: str, protocol: str) -> None:
    data, address = HEADERS[header]
    context = trusting(authority, alpn=[protocol])
    async with tls_rig(authority, tmp_path, proxy_protocol="127.0.0.0/8") as rig:
        await asyncio.to_thread(ask, port_of(rig), context, data, step=1)
        assert forwarded(rig) == [address] * 2


async def test_many_at_once_keep_their_own(authority: Authority, tmp_path: Path) -> None:
    lines = [b"PROXY TCP4 203.0.113.%d 10.0.0.1 51234 8443\r\n" % number for number in range(1, 21)]
    context = trusting(authority)
    async with tls_rig(authority, tmp_path, proxy_protocol="127.0.0.0/8") as rig:
        await asyncio.gather(*(asyncio.to_thread(ask, port_of(rig), context, line, step=7, times=1) for line in lines))
        assert sorted(map(bytes, forwarded(rig))) == sorted(line.split()[2] for line in lines)  # type: ignore[arg-type]


async def test_a_trusted_proxy_is_known_by_the_address_in_the_header(authority: Authority, tmp_path: Path) -> None:
    def say(port: int, context: ssl.SSLContext) -> None:
        with speaker(port, context) as client:
            client.begin(LINE)
            client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n"))
            assert client.receive().startswith(b"HTTP/1.1 200 ")

    async with tls_rig(authority, tmp_path, proxy_protocol="127.0.0.0/8", trusted_proxies="203.0.113.0/24") as rig:
        await asyncio.to_thread(say, port_of(rig), trusting(authority))
        assert forwarded(rig) == [b"198.51.100.9, 203.0.113.7"]


async def test_clients_are_listed_by_the_address_in_the_header(authority: Authority, tmp_path: Path) -> None:
    """Before the handshake, too."""
    async with tls_rig(authority, tmp_path, proxy_protocol="127.0.0.0/8", trusted_proxies="none") as rig:

        def listed() -> list[tuple[str, bytes]]:
            return [(client.protocol, client.peer) for client in rig.interceptor.proxy.clients]

        _, writer = await asyncio.open_connection("127.0.0.1", port_of(rig))
        writer.write(LINE[:9])
        await eventually(lambda: listed() == [("PROXY", b"127.0.0.1")])
        writer.write(LINE[9:])
        await eventually(lambda: listed() == [("TLS", b"203.0.113.7")])
        writer.close()
        await eventually(lambda: rig_outcomes(rig) == {"left": 1})
        assert rig.interceptor._show_tls().proxy_protocol == "127.0.0.0/8"


async def _silence(port: int, *pieces: bytes) -> None:
    """What the proxy says to these bytes: nothing, and it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0)
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""
    writer.close()


async def test_a_load_balancer_without_a_header_is_refused(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path, proxy_protocol="private") as rig:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            async with connect(port_of(rig), trusting(authority)):
                pass
        for first in (
            GET,
            b"PROXY TCP4 203.0.113.7 10.0.0.1 51234\r\n",
            b"PROXY UNKNOWN " + b"x" * 200,
            SIGNATURE + b"\x21\x11\xff\xff",
        ):
            await _silence(port_of(rig), first)
        assert rig.interceptor.proxy.refusals == {("proxy_protocol", 400): 5}
        assert rig_outcomes(rig) == {}, "there was no handshake"
        assert rig.backends[0].requests == []


async def test_a_header_that_does_not_arrive_in_time(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path, proxy_protocol="private", head_timeout=0.3) as rig:
        await asyncio.gather(*(_silence(port_of(rig), LINE[:size]) for size in (0, 1, len(LINE) - 1)))
        assert rig.interceptor.proxy.refusals == {("proxy_protocol", 408): 3}
        await _silence(port_of(rig), LINE)  # the handshake has as long again
        assert rig_outcomes(rig) == {"slow": 1}


async def test_nobody_else_can_name_an_address(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path, proxy_protocol="192.0.2.1", trusted_proxies="none") as rig:
        for header, _ in HEADERS.values():
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(rig))
            writer.write(header)
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()
        await asyncio.to_thread(ask, port_of(rig), trusting(authority), b"")
        assert forwarded(rig) == [b"127.0.0.1"] * 2
        assert rig_outcomes(rig) == {"plaintext": len(HEADERS), "done": 1}


async def test_a_second_header_is_no_handshake(authority: Authority, tmp_path: Path) -> None:
    """As a client would send it whose load balancer writes its own in front."""
    async with tls_rig(authority, tmp_path, proxy_protocol="private") as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(rig))
        writer.write(LINE + b"PROXY TCP4 10.1.1.1 10.0.0.1 1 8443\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        assert rig_outcomes(rig) == {"plaintext": 1}


async def test_headers_that_come_slowly_make_room_for_others(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path, proxy_protocol="private", max_early_bytes=1 << 20) as rig:
        rig.interceptor.proxy.early.limit = 100
        streams = [await asyncio.open_connection("127.0.0.1", port_of(rig)) for _ in range(5)]
        for _, writer in streams:
            writer.write(LINE[:40])
        await eventually(lambda: rig.interceptor.proxy.early.evicted == 3)
        assert len(rig.interceptor.proxy.clients) == 2
        await asyncio.to_thread(ask, port_of(rig), trusting(authority), LINE)
        for _, writer in streams:
            writer.close()


# -- by other senders of the header -------------------------------------------------------------------------------


def _curl(authority: Authority, directory: Path, port: int, *options: str) -> Sequence[str]:
    trusted = directory / "authority.pem"
    trusted.write_bytes(authority.pem)
    usual = ("curl", "-sS", "--cacert", str(trusted), "--connect-to", f"::127.0.0.1:{port}", "-w", " %{http_version}")
    return (*usual, *options, "https://a.test/", "--next", *usual[1:], *options, "https://a.test/")


@needs_haproxy
@needs_curl
@pytest.mark.parametrize("protocol", ["1.1", "2"])
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"])
async def test_clients_of_haproxy_have_their_own_addresses(
    authority: Authority, tmp_path: Path, option: str, protocol: str
) -> None:
    """HAProxy passes TLS on as it is; the interceptor ends it."""
    async with tls_rig(authority, tmp_path, proxy_protocol="127.0.0.1", trusted_proxies="none", settle=False) as rig:
        async with haproxy(port_of(rig), option, tmp_path) as port:
            for address in ("127.0.0.1", "127.0.0.2"):
                options = (f"--http{protocol}", "--interface", address)
                code, said = await run(*_curl(authority, tmp_path, port, *options))
                assert (code, said) == (0, f"ok {protocol}" * 2)
        assert forwarded(rig) == [b"127.0.0.1"] * 2 + [b"127.0.0.2"] * 2


@needs_curl
@pytest.mark.parametrize("protocol", ["1.1", "2"])
async def test_curl_as_the_load_balancer(authority: Authority, tmp_path: Path, protocol: str) -> None:
    async with tls_rig(authority, tmp_path, proxy_protocol="127.0.0.2", trusted_proxies="none", settle=False) as rig:
        port = port_of(rig)
        sends = ("--haproxy-protocol", "--interface", "127.0.0.2")
        code, said = await run(*_curl(authority, tmp_path, port, f"--http{protocol}", *sends))
        assert (code, said) == (0, f"ok {protocol}" * 2)
        code, said = await run(*_curl(authority, tmp_path, port, f"--http{protocol}", "--haproxy-protocol"))
        assert code != 0, "from this address it is plaintext"
        assert forwarded(rig) == [b"127.0.0.2"] * 2


def _shook(rig: Rig, outcome: str) -> bool:
    return rig_outcomes(rig).get(outcome, 0) >= 3


@needs_haproxy
async def test_checks_of_haproxy_are_local_and_leave_nothing(authority: Authority, tmp_path: Path) -> None:
    """They send LOCAL and leave, or shake hands over TLS."""
    async with tls_rig(authority, tmp_path, proxy_protocol="127.0.0.1", settle=False) as rig:
        for checks, outcome in (("check", "left"), ("check check-ssl verify none", "done")):
            option = f"send-proxy-v2 {checks} check-send-proxy inter 50ms"
            async with haproxy(port_of(rig), option, tmp_path):
                await eventually(partial(_shook, rig, outcome))
        await eventually(lambda: not rig.interceptor.proxy.clients)
        assert not rig.interceptor.proxy.refusals
