"""The transport that encrypts, between a transport in memory and a protocol, with OpenSSL as the peer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest

from interceptor.core.deadlines import Deadlines
from interceptor.transport.encrypted import CIPHER_VIEW, PLAIN_PART, RECORDS_A_TURN, EncryptedTransport, Engine
from interceptor.transport.tls import CLOSE_SECONDS
from tests.support.certificates import Authority
from tests.support.proxy_memory import MockTransport
from tests.support.waiting import turns

LARGE = bytes(range(256)) * (PLAIN_PART // 100)


class Reader(asyncio.BufferedProtocol):
    """The protocol above. After each read it pauses if it is `slow`, and closes if it is `done`."""

    def __init__(self, room: int) -> None:
        self.view = memoryview(bytearray(room))
        self.data = bytearray()
        self.events: list[str] = []
        self.slow = self.done = False
        self.transport: Any = None

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.view[:nbytes]
        if self.done:
            self.transport.close()
        if self.slow:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")


class Stage:
    """Both ends, after the handshake."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, room: int = 1 << 19) -> None:
        engine = Engine.server(server)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = client.wrap_bio(self.incoming, self.outgoing, server_hostname="a.test")
        for _ in range(2):
            for end in (self.peer, engine.tls):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                engine.incoming.write(self.outgoing.read())
                self.incoming.write(engine.outgoing.read())
        self.engine = engine
        self.deadlines = Deadlines(0.1, now=0.0)
        self.raw = MockTransport(asyncio.BufferedProtocol())
        self.transport: Any = EncryptedTransport(self.raw, engine, self.deadlines, lambda: 0.0)
        self.raw.protocol = self.transport
        self.reader = Reader(room)
        self.reader.transport = self.transport
        self.transport.set_protocol(self.reader)

    def send(self, data: bytes) -> bytes:
        """The records that the peer sends."""
        for at in range(0, len(data), 10_000):
            self.peer.write(data[at : at + 10_000])
        return self.outgoing.read()

    def received(self) -> bytes:
        """What the peer decrypts of what was written."""
        self.incoming.write(bytes(self.raw.written))
        self.raw.written.clear()
        got = bytearray()
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while data := self.peer.read(1 << 20):
                got += data
        return bytes(got)

    def end(self) -> bytes:
        """The records by which the peer ends its side."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.peer.unwrap()
        return self.outgoing.read()


@pytest.fixture(scope="module", params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def contexts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = Authority()
    directory: Path = tmp_path_factory.mktemp("tls")
    # Not the default context, which from Python 3.13 on wants more of certificates than these have.
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=authority.pem.decode())
    server.load_cert_chain(*authority.write(directory, "tls", "a.test"))
    server.maximum_version = request.param
    return server, client


@pytest.fixture
async def stage(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Stage:
    return Stage(*contexts)


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("room", [1, 100, 1 << 19])
async def test_any_split_of_what_is_read_is_the_same_content(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], step: int, room: int
) -> None:
    stage = Stage(*contexts, room=room)
    content = LARGE[:25_000]
    records = stage.send(content)
    for at in range(0, len(records), step):
        stage.raw.feed(records[at : at + step])
        while stage.raw.paused:
            await turns(1)
    assert stage.reader.data == content


@pytest.mark.parametrize("size", [1, PLAIN_PART, PLAIN_PART + 1, len(LARGE)])
async def test_what_is_written_arrives(stage: Stage, size: int) -> None:
    stage.transport.write(memoryview(LARGE)[:size])
    assert stage.received() == LARGE[:size]


async def test_what_was_read_waits_while_reading_is_paused(stage: Stage) -> None:
    stage.reader.slow = True
    stage.reader.view = stage.reader.view[:1000]
    stage.raw.feed(stage.send(LARGE[:30_000]))
    for count in range(1, 31):
        assert len(stage.reader.data) == count * 1000
        assert stage.raw.paused
        await turns(3)
        assert len(stage.reader.data) == count * 1000
        stage.transport.resume_reading()
        await turns(3)
    assert stage.reader.data == LARGE[:30_000]
    assert not stage.raw.paused


async def test_nothing_is_read_until_what_was_read_is_passed_on(stage: Stage) -> None:
    """Or a peer would have more and more kept for it, with each pause."""
    stage.reader.slow = True
    stage.reader.view = stage.reader.view[:1000]
    stage.raw.feed(stage.send(LARGE))
    most = 0
    while len(stage.reader.data) < len(LARGE):
        stage.transport.resume_reading()
        await turns(3)
        most = max(most, stage.engine.incoming.pending)
    assert most <= len(CIPHER_VIEW)
    assert stage.reader.data == LARGE


async def test_after_some_full_reads_others_have_their_turn(stage: Stage) -> None:
    content = LARGE * 5
    stage.raw.feed(stage.send(content))
    assert stage.raw.paused
    assert 1 << 17 <= len(stage.reader.data) <= 1 << 18
    await turns()
    assert stage.reader.data == content
    assert not stage.raw.paused


@pytest.mark.parametrize("ended", [False, True])
async def test_tiny_records_are_taken_in_many_turns(stage: Stage, ended: bool) -> None:
    """One read has thousands of them."""
    for byte in LARGE[:5000]:
        stage.peer.write(bytes([byte]))
    records = stage.outgoing.read()
    if ended:
        stage.transport.close()
    before, most, rounds = stage.engine.incoming.pending, 0, 0
    stage.raw.feed(records)
    while stage.raw.paused:
        left = stage.engine.incoming.pending
        most, before, rounds = max(most, before - left), left, rounds + 1
        await turns(1)
    assert rounds >= 5000 // RECORDS_A_TURN
    assert most <= len(records) // 5000 * (RECORDS_A_TURN + 1) * 2
    assert stage.reader.data == (b"" if ended else LARGE[:5000])
    assert not stage.engine.incoming.pending


async def test_a_peer_that_ends_its_side_ends_both(stage: Stage) -> None:
    stage.raw.feed(stage.send(b"last") + stage.end())
    assert stage.reader.data == b"last"
    assert stage.raw.closing
    assert not stage.raw.aborted
    assert stage.received() == b""
    await turns()
    assert stage.reader.events == ["eof", "lost"]


async def test_a_peer_that_leaves_without_a_word(stage: Stage) -> None:
    stage.raw.feed_eof()
    await turns()
    assert stage.reader.events == ["eof", "lost"]


async def test_our_end_waits_for_the_end_of_the_peer(stage: Stage) -> None:
    stage.transport.write(b"last")
    stage.transport.close()
    stage.transport.write(b"no more")
    assert stage.received() == b"last"
    stage.raw.feed(stage.send(LARGE[:50_000]))
    assert stage.transport.is_closing()
    assert not stage.raw.closing
    stage.raw.feed(stage.end())
    assert stage.raw.closing
    assert not stage.raw.aborted
    await turns()
    assert not stage.reader.data
    assert stage.reader.events == ["lost"]
    assert not len(stage.deadlines)


@pytest.mark.parametrize("unread", [0, 30_000])
async def test_our_end_does_not_wait_for_long(stage: Stage, unread: int) -> None:
    stage.reader.slow = True
    if unread:
        stage.raw.feed(stage.send(LARGE[:unread]))
    stage.transport.close()
    assert not stage.raw.paused  # what is not read would be answered with a reset
    stage.deadlines.sweep(CLOSE_SECONDS - 0.2)
    assert not stage.raw.closing
    stage.deadlines.sweep(CLOSE_SECONDS + 0.2)
    assert stage.raw.aborted


async def test_an_end_while_it_reads(stage: Stage) -> None:
    """The protocol ends the connection in the middle of what was read, of which the rest is dropped."""
    stage.reader.view = stage.reader.view[:10]
    stage.reader.done = True
    stage.raw.feed(stage.send(LARGE[:5000]) + stage.end())
    assert len(stage.reader.data) == 10
    assert stage.raw.closing
    await turns()
    assert stage.reader.events == ["lost"]


async def test_broken_records_are_answered_with_an_alert(stage: Stage) -> None:
    records = bytearray(stage.send(b"content"))
    records[-1] ^= 1
    stage.raw.feed(bytes(records))
    assert not stage.reader.data
    assert stage.raw.aborted
    with pytest.raises(ssl.SSLError, match="bad record mac"):
        stage.received()
    await turns()
    assert stage.reader.events == ["lost"]


async def test_a_peer_that_has_much_answered_and_reads_nothing_is_cut(stage: Stage) -> None:
    """OpenSSL answers some records by itself. Such an answer is put here by hand."""
    stage.engine.outgoing.write(b"answer")
    stage.raw.feed(stage.send(b"a"))
    assert stage.raw.written == b"answer"
    stage.raw.stop_taking()
    stage.transport.write(b"large")
    assert stage.reader.events == ["pause"]
    stage.engine.outgoing.write(b"answer")
    stage.raw.feed(stage.send(b"b"))
    assert stage.raw.aborted


async def test_a_slow_reader_is_reported(stage: Stage) -> None:
    stage.raw.stop_taking()
    stage.transport.write(b"large")
    stage.raw.go_on_taking()
    assert stage.reader.events == ["pause", "resume"]
