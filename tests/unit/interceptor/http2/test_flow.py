"""Windows of both sides, queues, rotation of streams, and back-pressure of the transport."""

from __future__ import annotations

import pytest

from interceptor.core.messages import Fields
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import (
    FLOW_CONTROL_ERROR,
    INTERNAL_ERROR,
    NO_ERROR,
    STREAM_CLOSED,
    frame,
    reset,
    settings,
    window_update,
)
from interceptor.http2.core.outflow import MAX_QUEUED, MAX_RESET_IDS, OUTPUT_BYTES, QUEUE_HIGH, QUEUE_LOW, TOTAL_HIGH
from interceptor.http2.core.stream import NO_SINK
from tests.support.h2_memory import GET, OK, POST, Frame, Peer, data, frames_of, headers

TRAILERS: Fields = ((b"grpc-status", b"0"),)


def answering(*numbers: int, **given: int) -> Peer:
    """A server that has sent response heads, to a client with this window for each stream."""
    peer = Peer()
    if given:
        peer.feed(settings({4: given["window"]}))
    for number in numbers:
        peer.feed(headers(number))
        peer.session.send_headers(peer.streams[number], OK)
    peer.wire()
    peer.recorded.clear()
    return peer


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    """Streams and lengths of DATA."""
    return [(stream, len(payload)) for kind, _, stream, payload in frames if kind == 0]


class TestReceiving:
    """Receive windows."""

    def test_windows_are_given_back_when_the_user_says_so(self) -> None:
        peer = Peer(Config(window=65535, connection_window=100_000), consumes=False)
        peer.feed(headers(1, POST, end=False) + data(1, bytes(10_000)) * 4)
        assert peer.wire() == b""
        peer.session.consumed(peer.streams[1], 32_767)
        assert peer.wire() == b"", "not for so little"
        peer.session.consumed(peer.streams[1], 1)
        assert peer.frames() == [(8, 0, 1, (32_768).to_bytes(4, "big"))]
        peer.feed(data(1, bytes(10_000)) * 2)
        peer.session.consumed(peer.streams[1], 17_232)
        assert peer.frames() == [(8, 0, 0, (50_000).to_bytes(4, "big"))]

    def test_more_than_was_given_counts_for_no_more(self) -> None:
        peer = Peer(consumes=False)
        peer.feed(headers(1, POST, end=False) + data(1, b"12345"))
        peer.session.consumed(peer.streams[1], 1 << 30)
        assert (peer.wire(), peer.session._owed, peer.streams[1].owed) == (b"", 5, 5)

    def test_more_than_the_streams_window_ends_it(self) -> None:
        peer = Peer(Config(window=65535), consumes=False)
        peer.feed(headers(1, POST, end=False) + data(1, bytes(16384)) * 3 + data(1, bytes(16383)))
        assert peer.resets() == []
        peer.feed(data(1, b"x"))
        assert peer.resets() == [(1, FLOW_CONTROL_ERROR)]

    def test_more_than_the_connections_window_ends_all(self) -> None:
        peer = Peer(Config(window=65535, connection_window=65535), consumes=False)
        peer.feed(headers(1, POST, end=False) + headers(3, POST, end=False) + data(1, bytes(16384)) * 3 + data(3, bytes(16383)))
        assert peer.fault() is None
        peer.feed(data(3, b"x"))
        assert peer.fault() == FLOW_CONTROL_ERROR

    def test_padding_counts_and_is_given_back_at_once(self) -> None:
        peer = Peer(consumes=False)
        peer.feed(headers(1, POST, end=False) + frame(0, 8, 1, b"\x05hello" + bytes(5)))
        assert peer.only("data") == [("data", 1, b"hello", False)]
        stream = peer.streams[1]
        assert (stream.receive_window, stream.owed, stream.unconsumed) == ((1 << 16) - 11, 6, 5)
        assert peer.session._owed == 6

    def test_content_that_is_wrong_has_taken_from_the_connections_window(self) -> None:
        peer = Peer()
        peer.feed(headers(1) + data(1, bytes(100)))
        assert (peer.resets(), peer.session._owed) == ([(1, STREAM_CLOSED)], 100)

    @pytest.mark.parametrize("how", ["reset", "peer's reset", "content after the end"])
    def test_what_a_stream_that_was_cut_held_of_the_connections_window_is_given_back(self, how: str) -> None:
        peer = Peer(consumes=False)
        peer.feed(headers(1, (*POST, (b"content-length", b"1000")), end=False) + data(1, bytes(1000)))
        if how == "reset":
            peer.session.reset(peer.streams[1], NO_ERROR)
        elif how == "peer's reset":
            peer.feed(reset(1, NO_ERROR))
        else:
            peer.feed(data(1, b"x"))
        assert peer.session._owed == 1000 + (how == "content after the end")
        peer.session.consumed(peer.streams[1], 1000)
        assert peer.session._owed <= 1001, "once"

    def test_a_stream_that_ended_well_still_holds_what_its_user_has(self) -> None:
        peer = Peer(consumes=False)
        peer.feed(headers(1, POST, end=False) + data(1, bytes(1000), end=True))
        peer.session.send_headers(peer.streams[1], OK, end=True)
        assert (len(peer.session.streams), peer.session._owed) == (0, 0)
        peer.session.consumed(peer.streams[1], 1000)
        assert peer.session._owed == 1000

    def test_no_window_for_a_stream_that_gets_no_more(self) -> None:
        peer = Peer(Config(window=65535), consumes=False)
        peer.feed(headers(1, POST, end=False) + data(1, bytes(16384)) * 3 + data(1, b"", end=True))
        peer.session.consumed(peer.streams[1], 50_000)
        assert peer.wire() == b""


class TestSending:
    """Send windows."""

    def test_a_whole_answer_is_one_write(self) -> None:
        peer = Peer()
        peer.feed(headers(1))
        stream, session = peer.streams[1], peer.session
        outputs = peer.outputs
        session.send_headers(stream, OK)
        session.send_data(stream, b"message")
        session.send_trailers(stream, TRAILERS)
        assert peer.outputs == outputs + 1
        assert [(kind, flags) for kind, flags, *_ in frames_of(b"".join(session.take_output()))] == [(1, 4), (0, 0), (1, 5)]
        assert peer.recorded[-1] == ("closed", 1)

    def test_windows_are_kept_and_what_does_not_fit_waits(self) -> None:
        peer = answering(1, window=10)
        peer.session.send_data(peer.streams[1], b"0123456789abcdef", end=True)
        assert peer.frames() == [(0, 0, 1, b"0123456789")]
        assert (peer.session.queued, peer.streams[1].stalled) == (6, True)
        peer.feed(window_update(1, 4))
        assert peer.frames() == [(0, 0, 1, b"abcd")]
        peer.feed(window_update(1, 4))
        assert peer.frames() == [(0, 1, 1, b"ef")]
        assert peer.recorded[-1] == ("closed", 1)

    def test_the_connections_window_is_shared(self) -> None:
        peer = answering(1, 3, window=1 << 20)
        for number in (1, 3):
            peer.session.send_data(peer.streams[number], bytes(50_000), end=True)
        assert sum(size for _, size in sizes(peer.frames())) == 65535
        assert not peer.session.pending
        peer.feed(window_update(0, 100_000))
        assert sum(size for _, size in sizes(peer.frames())) == 100_000 - 65535

    def test_a_smaller_initial_window_makes_windows_negative(self) -> None:
        peer = answering(1, window=1000)
        peer.session.send_data(peer.streams[1], bytes(900))
        peer.feed(settings({4: 100}))
        assert peer.streams[1].send_window == -800
        peer.wire()
        peer.session.send_data(peer.streams[1], b"x")
        assert peer.wire() == b""
        peer.feed(window_update(1, 800))
        assert peer.wire() == b""
        peer.feed(settings({4: 101}))
        assert sizes(peer.frames()) == [(1, 1)]

    def test_an_end_needs_no_window(self) -> None:
        peer = answering(1, 3, window=0)
        peer.session.send_data(peer.streams[1], b"", end=True)
        peer.session.send_trailers(peer.streams[3], TRAILERS)
        assert [(kind, flags, stream) for kind, flags, stream, _ in peer.frames()] == [(0, 1, 1), (1, 5, 3)]

    def test_trailers_follow_what_is_queued(self) -> None:
        peer = answering(1, window=3)
        peer.session.send_data(peer.streams[1], b"abcde")
        peer.session.send_trailers(peer.streams[1], TRAILERS)
        peer.session.send_data(peer.streams[1], b"after the end")
        peer.session.send_trailers(peer.streams[1], TRAILERS)
        assert peer.kinds() == [0]
        peer.feed(window_update(1, 100))
        assert [(kind, flags) for kind, flags, *_ in peer.frames()] == [(0, 0), (1, 5)]

    def test_trailers_without_fields_are_an_end(self) -> None:
        peer = answering(1, 3, window=3)
        peer.session.send_trailers(peer.streams[1], ())
        peer.session.send_data(peer.streams[3], b"abc")
        peer.session.send_trailers(peer.streams[3], ())
        assert [(kind, flags, stream) for kind, flags, stream, _ in peer.frames()] == [(0, 1, 1), (0, 0, 3), (0, 1, 3)]

    def test_no_frame_is_longer_than_the_peer_takes(self) -> None:
        peer = answering(1, window=1 << 20)
        peer.session.send_data(peer.streams[1], bytes(40_000), end=True)
        assert sizes(peer.frames()) == [(1, 16384), (1, 16384), (1, 7232)]
        peer.feed(settings({5: 20_000}) + window_update(0, 100_000) + headers(3))
        large: Fields = (*OK, (b"a", b"v" * 50_000))
        peer.session.send_headers(peer.streams[3], large, end=True)
        frames = [(kind, flags, len(payload)) for kind, flags, _, payload in peer.frames()][1:]
        assert [frame[:2] for frame in frames] == [(1, 1), (9, 0), (9, 4)]
        assert [size for *_, size in frames][:2] == [20_000, 20_000]

    def test_streams_take_turns(self) -> None:
        peer = answering(1, 3, 5, window=1 << 20)
        peer.feed(window_update(0, 1 << 24))
        for number in (1, 3, 5):
            for _ in range(4):
                peer.session.send_data(peer.streams[number], bytes(16384))
        peer.wire()
        peer = answering(1, 3, 5, window=0)
        for number in (1, 3, 5):
            peer.session.send_data(peer.streams[number], bytes(40_000))
        peer.feed(window_update(0, 1 << 24) + settings({4: 1 << 20}))
        assert [stream for stream, _ in sizes(peer.frames())] == [1, 3, 5] * 3

    def test_the_first_app_does_not_take_all(self) -> None:
        """A stream with a large window sends alone as long as no other stream can send; then they send in rotation."""
        peer = answering(1, 3, window=1 << 20)
        peer.feed(window_update(0, 1 << 24))
        peer.session.send_data(peer.streams[1], bytes(1 << 18))
        peer.session.send_data(peer.streams[3], b"small")
        sent = sizes(peer.frames())
        assert sent.index((3, 5)) == 1

    def test_one_write_is_bounded(self) -> None:
        peer = answering(1, window=1 << 22)
        peer.feed(window_update(0, 1 << 24))
        peer.session.send_data(peer.streams[1], bytes(1 << 20))
        writes = [sum(map(len, out)) for out in iter(peer.session.take_output, [])]
        assert len(writes) >= 16
        assert max(writes) <= OUTPUT_BYTES + 16384 + 9

    def test_small_pieces_become_large_frames(self) -> None:
        peer = answering(1, window=0)
        for _ in range(1000):
            peer.session.send_data(peer.streams[1], b"0123456789")
        peer.feed(window_update(1, 20_000))
        assert sizes(peer.frames()) == [(1, 10_000)]

    def test_pieces_of_a_byte_take_no_more_memory_than_one_of_all(self) -> None:
        peer = answering(1, window=0)
        for _ in range(40_000):
            peer.session.send_data(peer.streams[1], b"x")
        queue = peer.streams[1].queue
        assert queue is not None
        assert [len(piece) for piece in queue] == [16384, 16384, 7232]

    def test_a_view_is_not_kept(self) -> None:
        peer, shared = answering(1, window=0), bytearray(b"first")
        peer.session.send_data(peer.streams[1], memoryview(shared))
        shared[:] = b"other"
        peer.feed(window_update(1, 5))
        assert peer.frames() == [(0, 0, 1, b"first")]
        shared[:] = b"first"
        peer.feed(window_update(1, 5))
        peer.session.send_data(peer.streams[1], memoryview(shared))
        shared[:] = b"other"
        assert peer.frames() == [(0, 0, 1, b"first")]


class TestPressure:
    """Users that are faster or slower than the transport."""

    def test_a_stream_is_congested_and_becomes_writable_again(self) -> None:
        peer = answering(1, window=0)
        stream = peer.streams[1]
        peer.session.send_data(stream, bytes(QUEUE_HIGH))
        assert not stream.congested
        peer.session.send_data(stream, b"x")
        assert stream.congested
        peer.feed(window_update(1, QUEUE_HIGH - QUEUE_LOW))
        peer.wire()
        assert stream.congested
        peer.feed(window_update(1, 1))
        peer.wire()
        assert not stream.congested
        assert peer.recorded == [("writable", 1)]

    def test_all_streams_together_have_a_limit_from_which_on_each_is_congested_at_once(self) -> None:
        numbers = range(1, 2 * TOTAL_HIGH // QUEUE_HIGH, 2)
        last = numbers[-1] + 2
        peer = answering(*numbers, last, window=0)
        for number in numbers:
            peer.session.send_data(peer.streams[number], bytes(QUEUE_HIGH))
        assert peer.session.queued == TOTAL_HIGH
        assert not any(stream.congested for stream in peer.streams.values())
        stream = peer.streams[last]
        peer.session.send_data(stream, b"xy")
        assert stream.congested
        peer.feed(window_update(last, 1))
        assert sizes(peer.frames()) == [(last, 1)]
        assert (stream.congested, peer.recorded) == (False, [("writable", last)]), "it moves: the others do not stop it"
        peer.session.send_data(stream, b"z")
        assert stream.congested
        peer.session.reset(peer.streams[1], NO_ERROR)
        peer.feed(window_update(last, 1))
        peer.wire()
        peer.session.send_data(stream, b"z")
        assert not stream.congested

    def test_a_user_that_does_not_stop_loses_the_stream(self) -> None:
        peer = answering(1, window=0)
        stream = peer.streams[1]
        for _ in range(MAX_QUEUED >> 18):
            peer.session.send_data(stream, bytes(1 << 18))
        assert not stream.closed
        peer.session.send_data(stream, b"x")
        assert peer.resets() == [(1, INTERNAL_ERROR)]
        assert peer.recorded == [("closed", 1), ("reset", 1, INTERNAL_ERROR, False)]
        assert (peer.session.queued, stream.queue) == (0, None)

    def test_while_the_transport_takes_nothing_content_waits_in_its_stream(self) -> None:
        peer = answering(1)
        peer.session.hold()
        peer.session.send_data(peer.streams[1], b"message", end=True)
        peer.feed(frame(6, 0, 0, bytes(8)))
        assert (peer.session.take_output(), peer.session.pending) == ([], False)
        peer.session.release()
        assert peer.kinds() == [6, 0]

    def test_too_many_answers_that_are_not_taken_stop_the_reading(self) -> None:
        peer = answering(1)
        peer.session.hold()
        assert not peer.session.clogged
        for number in range(3, 3 + 2 * 100, 2):
            peer.feed(headers(number))
            peer.session.send_headers(peer.streams[number], (*OK, (b"a", b"%d" % number * 300)), end=True)
        assert peer.session.clogged
        peer.session.release()
        peer.wire()
        assert not peer.session.clogged

    def test_a_stream_that_is_reset_loses_what_it_has_queued(self) -> None:
        peer = answering(1, 3, window=100)
        for number in (1, 3):
            peer.session.send_data(peer.streams[number], bytes(300))
        peer.wire()
        peer.feed(reset(1, NO_ERROR))
        peer.session.reset(peer.streams[3], NO_ERROR)
        assert (peer.session.queued, peer.kinds()) == (0, [3])
        peer.session.send_data(peer.streams[1], b"late")
        peer.session.send_headers(peer.streams[1], OK)
        peer.session.send_trailers(peer.streams[1], TRAILERS)
        peer.session.reset(peer.streams[1], NO_ERROR)
        assert peer.wire() == b"", "nothing is said of a stream that is over"

    def test_a_lost_transport_ends_all_streams(self) -> None:
        peer = answering(1, 3, window=0)
        peer.session.send_data(peer.streams[1], b"queued")
        peer.session.lost()
        assert sorted(peer.only("reset")) == [("reset", 1, INTERNAL_ERROR, False), ("reset", 3, INTERNAL_ERROR, False)]
        assert (len(peer.session.streams), peer.session.queued, peer.session.drained) == (0, 0, True)

    def test_what_is_remembered_of_resets_is_bounded(self) -> None:
        peer = Peer()
        for number in range(1, 2 * (MAX_RESET_IDS + 100), 2):
            peer.now += 1
            peer.feed(headers(number, POST, end=False))
            peer.session.reset(peer.streams[number], NO_ERROR)
            peer.wire()
        assert len(peer.session._reset_ids) == MAX_RESET_IDS
        peer.feed(data(1, b"late"))
        assert peer.fault() is None, "older ones are treated alike"

    def test_output_of_another_side_is_announced_once(self) -> None:
        peer = answering(1, window=10)
        outputs = peer.outputs
        peer.session.send_data(peer.streams[1], b"x" * 20)
        assert peer.outputs == outputs + 1
        peer.session.send_data(peer.streams[1], b"x" * 20)
        peer.session.ping(bytes(8))
        peer.wire()
        peer.session.ping(bytes(8))
        assert peer.outputs <= outputs + 3
        assert peer.kinds() == [6]


def test_the_requests_of_a_client_are_numbered_in_their_order() -> None:
    peer = Peer(client=True)
    for _ in range(3):
        peer.request(GET)
    assert [stream for _, _, stream, _ in peer.frames()] == [1, 3, 5]


@pytest.mark.parametrize("end", ["well", "reset", "peer's reset", "lost"])
def test_a_stream_that_is_over_does_not_keep_its_user(end: str) -> None:
    """Stream and sink refer to each other, and would stay in memory until a garbage collection."""
    peer = answering(1)
    stream = peer.streams[1]
    if end == "well":
        peer.session.send_data(stream, b"", end=True)
    elif end == "reset":
        peer.session.reset(stream, NO_ERROR)
    elif end == "peer's reset":
        peer.feed(reset(1, NO_ERROR))
    else:
        peer.session.lost()
    assert stream.closed
    assert stream.sink is NO_SINK


def test_streams_that_wait_for_the_connections_window_are_written_when_it_opens() -> None:
    """Even if nothing else is to be written then: the window of the stream is open already."""
    peer = Peer()
    peer.feed(settings({4: 1 << 20}) + headers(1))
    peer.session.send_headers(peer.streams[1], OK)
    peer.session.send_data(peer.streams[1], bytes(100_000))
    peer.wire()
    assert (peer.session.send_window, peer.session.pending, peer.streams[1].queued) == (0, False, 100_000 - 65535)
    told = peer.outputs
    peer.feed(window_update(0, 1000))
    assert (peer.outputs, peer.session.pending) == (told + 1, True)
    assert [len(payload) for _, _, _, payload in peer.frames()] == [1000]
