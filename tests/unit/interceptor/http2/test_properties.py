"""Properties: however bytes are split and whatever two sessions do, the events are the same, and no window is violated.

The peer is a second session of ours, or the h2 library, which shares no code with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import h2.config
import h2.connection
import h2.events
import h2.settings
import h2.windows
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.core.messages import Fields
from interceptor.http2.core import frames
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import CANCEL, PREFACE, frame, window_update
from tests.support.full import examples
from tests.support.h2_memory import GET, OK, POST, Peer, Told, data, frames_of, headers, literal

TRAILERS: Fields = ((b"grpc-status", b"0"), (b"x-sum", b"s"))
BLOCK = literal(POST)
CONVERSATION = b"".join(
    (
        PREFACE,
        frames.settings({4: 100, 1: 100}),
        frame(4, 1, 0, b""),
        window_update(0, 1000),
        frame(1, 0, 1, BLOCK[:10]),
        frame(9, 0, 1, BLOCK[10:20]),
        frame(9, 4, 1, BLOCK[20:]),
        data(1, b"first"),
        frame(0, 8, 1, b"\x03second" + bytes(3)),
        headers(3, GET),
        frame(6, 0, 0, b"12345678"),
        frame(0xEE, 7, 3, b"unknown"),
        frame(1, 5, 5, b"\x82\x86\x84\x40\x01a\x01b"),
        frame(1, 5, 7, b"\x82\x86\x84\xbe"),
        frame(1, 5, 9, b"\x82\x86\x84\xbe"),
        frames.reset(3, CANCEL),
        headers(1, TRAILERS),
        headers(11, (*GET, (b"A", b"b"))),
        headers(13, POST, end=False),
        data(13, bytes(16384)),
        data(13, b"", end=True),
        window_update(13, 0),
    )
)


def heard(pieces: list[bytes]) -> tuple[list[Told], bytes]:
    peer = Peer(begun=False)
    for piece in pieces:
        peer.feed(piece)
    return peer.recorded, peer.wire()


WHOLE = heard([CONVERSATION])


def test_the_conversation_is_worth_cutting() -> None:
    told, wire = WHOLE
    assert len(told) == 16
    assert [kind for kind, *_ in frames_of(wire)] == [4, 8, 4, 6, 3, 3]


@settings(deadline=None)
@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=30))
def test_any_split_of_the_bytes_tells_the_same(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(CONVERSATION)]
    assert heard([CONVERSATION[begin:end] for begin, end in pairwise(ends)]) == WHOLE


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pieces_of_one_size_tell_the_same(size: int) -> None:
    assert heard([CONVERSATION[at : at + size] for at in range(0, len(CONVERSATION), size)]) == WHOLE


@settings(deadline=None)
@given(st.integers(24, len(CONVERSATION) - 1), st.integers(0, 255))
def test_a_broken_byte_is_our_error_or_none(at: int, value: int) -> None:
    heard([CONVERSATION[:at] + bytes((value,)) + CONVERSATION[at + 1 :]])


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_our_error_or_none(wire: bytes) -> None:
    peer = Peer()
    peer.feed(wire)


class Windows:
    """The windows of one side, computed independently from the bytes on the wire. Fails if it has sent too much."""

    def __init__(self) -> None:
        self.initial, self.connection = 65535, 65535
        self.streams: dict[int, int] = defaultdict(int)
        """Relative to the initial one."""

    def sends(self, wire: bytes) -> None:
        for kind, _, stream, payload in frames_of(wire):
            if kind == 0:
                self.connection -= len(payload)
                self.streams[stream] -= len(payload)
                assert self.connection >= 0
                assert not payload or self.initial + self.streams[stream] >= 0

    def hears(self, wire: bytes) -> None:
        """Process the peer's frames that it has read."""
        for kind, flags, stream, payload in frames_of(wire):
            if kind == 8:
                by = int.from_bytes(payload, "big")
                if stream:
                    self.streams[stream] += by
                else:
                    self.connection += by
            elif kind == 4 and not flags:
                for at in range(0, len(payload), 6):
                    if payload[at + 1] == 4:
                        self.initial = int.from_bytes(payload[at + 2 : at + 6], "big")


class Pair:
    """A client and a server, with bytes on their way between them, and users that act randomly."""

    def __init__(self, random: Random) -> None:
        self.random = random
        small = Config(window=65535 + random.choice([0, 1000]), connection_window=65535 + random.choice([0, 50_000]))
        self.client = Peer(small, client=True, begun=False, consumes=False)
        self.server = Peer(Config(window=70_000, connection_window=80_000, streams=5), begun=False, consumes=False)
        self.ways = {self.client: bytearray(), self.server: bytearray()}
        self.windows = {self.client: Windows(), self.server: Windows()}
        self.sent: dict[tuple[Peer, int], bytearray] = defaultdict(bytearray)
        self.speaks: dict[Peer, set[int]] = {self.client: set(), self.server: set()}
        """Streams on which content may be sent."""
        self.answered: set[int] = set()

    def write(self, peer: Peer) -> None:
        for wire in iter(lambda: b"".join(peer.session.take_output()), b""):
            self.windows[peer].sends(wire.removeprefix(PREFACE))
            self.ways[peer] += wire

    def read(self, peer: Peer) -> None:
        way = self.ways[self.server if peer is self.client else self.client]
        wire = bytes(way)
        way.clear()
        peer.feed(wire)
        self.windows[peer].hears(wire.removeprefix(PREFACE))
        self.write(peer)

    def step(self) -> None:
        peer = self.random.choice([self.client, self.server])
        what = self.random.choice(
            [self.begin, self.hold, self.read, self.read, self.content, self.content, self.consume, self.cut]
        )
        peer.now += 1
        what(peer)
        self.write(peer)

    def begin(self, peer: Peer) -> None:
        """A request, or a head of an answer."""
        if peer is self.client and peer.session.ready and peer.session.available:
            end = self.random.random() < 0.2
            stream = peer.request(POST, end=end)
            if not end:
                self.speaks[peer].add(stream.id)
        elif peer is self.server:
            for number, stream in peer.streams.items():
                if number not in self.answered:
                    peer.session.send_headers(stream, OK)
                    self.answered.add(number)
                    self.speaks[peer].add(number)

    def hold(self, peer: Peer) -> None:
        if self.random.random() < 0.5:
            peer.session.hold()
        else:
            peer.session.release()

    def content(self, peer: Peer) -> None:
        for number in sorted(self.speaks[peer]):
            stream = peer.streams[number]
            if stream.closed or stream.tail is not None or stream.congested or self.random.random() < 0.5:
                continue
            content = self.random.randbytes(self.random.choice([0, 1, 100, 20_000]))
            chance = self.random.random()
            self.sent[(peer, number)] += content
            peer.session.send_data(stream, content, end=chance < 0.05)
            if 0.05 < chance < 0.1:
                peer.session.send_trailers(stream, TRAILERS)
            if chance < 0.1:
                self.speaks[peer].discard(number)

    def consume(self, peer: Peer) -> None:
        for stream in peer.streams.values():
            peer.session.consumed(stream, self.random.choice([0, 1, 1000, stream.unconsumed]))

    def cut(self, peer: Peer) -> None:
        live = [stream for stream in peer.streams.values() if not stream.closed]
        if live and self.random.random() < 0.3:
            peer.session.reset(self.random.choice(live), CANCEL)

    def settle(self) -> None:
        """Deliver and consume everything that is on its way."""
        for _ in range(100):
            for peer in (self.client, self.server):
                peer.session.release()
                for stream in peer.streams.values():
                    peer.session.consumed(stream, stream.unconsumed)
                self.read(peer)


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 1 << 32))
def test_two_sessions_keep_each_others_windows_and_lose_nothing(seed: int) -> None:
    pair = Pair(Random(seed))
    for _ in range(150):
        pair.step()
    pair.settle()
    assert not pair.client.session.closed
    assert not pair.server.session.closed
    assert pair.client.session.queued == pair.server.session.queued == 0
    for peer, other in ((pair.client, pair.server), (pair.server, pair.client)):
        cut = {told[1] for told in (*peer.only("reset"), *other.only("reset"))}
        cut |= {number for number, stream in peer.streams.items() if number not in other.streams}
        for (who, number), content in pair.sent.items():
            came = b"".join(told[2] for told in other.only("data") if told[1] == number and isinstance(told[2], bytes))
            if who is peer:
                assert came == content or number in cut or content.startswith(came)
                assert len(came) == len(content) or number in cut or peer.streams[number].closed
    for session in (pair.client.session, pair.server.session):
        # Bytes missing in the window are consumed but not reported yet, so none are lost.
        assert session.receive_window + session._owed == session.config.connection_window


class _LenientWindow(h2.windows.WindowManager):  # type: ignore[misc, unused-ignore]
    """The library treats an empty frame as an overflow while a window is negative, though it needs no window (6.9.1)."""

    def window_consumed(self, size: int) -> None:
        if size:
            super().window_consumed(size)


@pytest.fixture(autouse=True, scope="module")
def lenient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("h2.stream.WindowManager", _LenientWindow)
        yield


class TestLibrary:
    """The h2 library as the peer, which raises an error if we break a rule."""

    @settings(max_examples=examples(40), deadline=None)
    @given(st.integers(0, 1 << 32))
    def test_as_client(self, seed: int) -> None:
        random, peer = Random(seed), Peer(Config(streams=20), begun=False)
        other = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        other.initiate_connection()
        echo, got = Echo(peer), Got(other)
        live: dict[int, bytearray] = {}
        for _ in range(60):
            got.act(live, random)
            peer.now += 1
            exchange(peer, echo, got, random)
        # The library opens a window only after more data was received, so a window that settings made negative would stay so.
        other.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 400_000})
        for number in list(live):
            got.end(number, live)
        for _ in range(200):
            exchange(peer, echo, got, random)
            got.flush()
        assert not peer.session.closed
        assert len(peer.session.streams) == 0
        for number, content in got.said.items():
            assert got.heard[number] == content or number in got.cut
            assert number in got.ended or number in got.cut

    @settings(max_examples=examples(40), deadline=None)
    @given(st.integers(0, 1 << 32))
    def test_as_server(self, seed: int) -> None:
        random, peer = Random(seed), Peer(client=True, begun=False)
        other = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        other.initiate_connection()
        served: dict[int, bytearray] = defaultdict(bytearray)
        said: dict[int, bytes] = {}
        for at in range(40):
            if peer.session.ready and peer.session.available and random.random() < 0.5:
                stream = peer.request((*POST, (b"x-%d" % random.randrange(4), b"v" * random.randrange(600))), end=False)
                said[stream.id] = random.randbytes(random.choice([0, 10, 30_000]))
                peer.session.send_data(stream, said[stream.id], end=at % 2 == 0)
                if at % 2:
                    peer.session.send_trailers(stream, TRAILERS)
            peer.now += 1
            wire = peer.wire()
            for event in other.receive_data(wire) if wire else []:
                serve(other, event, served)
            if random.random() < 0.3:
                other.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: random.choice([100_000, 65535])})
            peer.feed(other.data_to_send())
        for _ in range(100):
            wire = peer.wire()
            for event in other.receive_data(wire) if wire else []:
                serve(other, event, served)
            peer.feed(other.data_to_send())
        assert not peer.session.closed
        assert len(peer.session.streams) == 0
        assert {number: bytes(content) for number, content in served.items() if content} == {n: c for n, c in said.items() if c}
        assert len(peer.only("trailers")) == len(said)


def serve(other: h2.connection.H2Connection, event: h2.events.Event, served: dict[int, bytearray]) -> None:
    """Answers with a head and trailers when the request is complete."""
    if isinstance(event, h2.events.DataReceived):
        served[event.stream_id] += event.data or b""
        other.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
    elif isinstance(event, h2.events.StreamEnded):
        other.send_headers(event.stream_id, [(b":status", b"200"), (b"x-n", b"%d" % event.stream_id)])
        other.send_headers(event.stream_id, [(b"grpc-status", b"0")], end_stream=True)


class Echo:
    """Our side as a server: sends the content back, and consumes it."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._at = 0

    def answer(self) -> None:
        peer = self._peer
        for told in peer.recorded[self._at :]:
            if told[0] in ("request", "data", "trailers"):
                stream = peer.streams[told[1]]  # type: ignore[index]
                if told[0] == "request":
                    peer.session.send_headers(stream, OK)
                elif told[0] == "data":
                    peer.session.send_data(stream, told[2], end=bool(told[3]))  # type: ignore[arg-type]
                else:
                    peer.session.send_trailers(stream, TRAILERS)
        self._at = len(peer.recorded)


class Got:
    """The library's side as a client."""

    def __init__(self, other: h2.connection.H2Connection) -> None:
        self.other = other
        self.said: dict[int, bytearray] = {}
        self.heard: dict[int, bytearray] = defaultdict(bytearray)
        self.ended: set[int] = set()
        self.cut: set[int] = set()
        self._owed: list[tuple[int, int]] = []

    def act(self, live: dict[int, bytearray], random: Random) -> None:
        """A random action."""
        other, what = self.other, random.random()
        if what < 0.2 and other.open_outbound_streams < 15:
            number = other.get_next_available_stream_id()
            other.send_headers(number, [*POST, (b"x-%d" % random.randrange(5), b"v" * random.randrange(300))])
            live[number] = bytearray()
        elif what < 0.6:
            for number in list(live):
                self.say(number, live, random)
        elif what < 0.7:
            other.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: random.choice([0, 10, 65535, 200_000])})
        elif what < 0.75:
            other.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: random.choice([0, 100, 4096])})
        elif what < 0.8:
            other.ping(b"12345678")
        elif what < 0.85 and live:
            number = random.choice(list(live))
            other.reset_stream(number, CANCEL)
            del live[number]
            self.cut.add(number)

    def say(self, number: int, live: dict[int, bytearray], random: Random) -> None:
        room = min(self.other.local_flow_control_window(number), self.other.max_outbound_frame_size)
        content = random.randbytes(min(room, random.choice([1, 100, 16384])))
        self.said.setdefault(number, bytearray()).extend(content)
        if content:
            self.other.send_data(number, content, pad_length=random.choice([None, 0]) if room > len(content) else None)
        if random.random() < 0.2:
            self.end(number, live)

    def end(self, number: int, live: dict[int, bytearray]) -> None:
        self.said.setdefault(number, bytearray())
        if number % 4 == 1:
            self.other.send_headers(number, list(TRAILERS), end_stream=True)
        else:
            self.other.end_stream(number)
        del live[number]

    def hear(self, wire: bytes, random: Random) -> None:
        for event in self.other.receive_data(wire):
            assert not isinstance(event, h2.events.ConnectionTerminated), event
            if isinstance(event, h2.events.DataReceived):
                self.heard[event.stream_id] += event.data or b""
                self._owed.append((event.stream_id, event.flow_controlled_length or 0))
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.cut.add(event.stream_id)
        if random.random() < 0.5:
            self.flush()

    def flush(self) -> None:
        """Opens windows."""
        for number, size in self._owed:
            if size:
                self.other.acknowledge_received_data(size, number)
        self._owed.clear()


def exchange(peer: Peer, echo: Echo, got: Got, random: Random) -> None:
    wire = got.other.data_to_send()
    while wire:
        cut = random.randrange(1, len(wire) + 1)
        peer.feed(wire[:cut])
        wire = wire[cut:]
    echo.answer()
    wire = peer.wire()
    if wire:
        got.hear(wire, random)
