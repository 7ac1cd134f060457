"""Stream errors and connection errors of RFC 9113, one by one."""

from __future__ import annotations

import pytest

from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import (
    COMPRESSION_ERROR,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    frame,
    goaway,
    reset,
    settings,
    window_update,
)
from tests.support.h2_memory import GET, OK, POST, Peer, data, headers, literal

BLOCK = literal(GET)
OPEN = headers(1, POST, end=False)
HALF_CLOSED = headers(1, GET)
RESET_BY_PEER = HALF_CLOSED + reset(1, NO_ERROR)
SELF = (1).to_bytes(4, "big")
RESET_BY_US = OPEN + frame(2, 0, 1, SELF + b"\x10")

CONNECTION_ERRORS = {
    "3.4 a frame before SETTINGS": (None, PREFACE + headers(1), PROTOCOL_ERROR),
    "3.4 an acknowledgement before SETTINGS": (None, PREFACE + frame(4, 1, 0, b""), PROTOCOL_ERROR),
    "3.4 another preface": (None, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", PROTOCOL_ERROR),
    "3.4 the beginning of another protocol": (None, b"GET /", PROTOCOL_ERROR),
    "4.2 a frame that is too long": (OPEN, data(1, bytes(16385)), FRAME_SIZE_ERROR),
    "4.2 only the head of a frame that is too long": (OPEN, data(1, bytes(16385))[:9], FRAME_SIZE_ERROR),
    "4.3 a block that cannot be read": (b"", frame(1, 5, 1, b"\x40\x01"), COMPRESSION_ERROR),
    "4.3 a frame within a block": (b"", frame(1, 1, 1, BLOCK) + frame(6, 0, 0, bytes(8)), PROTOCOL_ERROR),
    "4.3 another stream within a block": (b"", frame(1, 1, 1, BLOCK) + headers(3), PROTOCOL_ERROR),
    "5.1 DATA on an idle stream": (b"", data(1, b"x"), PROTOCOL_ERROR),
    "5.1 RST_STREAM on an idle stream": (b"", reset(1, NO_ERROR), PROTOCOL_ERROR),
    "5.1 WINDOW_UPDATE on an idle stream": (b"", window_update(1, 1), PROTOCOL_ERROR),
    "5.1 CONTINUATION on an idle stream": (b"", frame(9, 4, 1, BLOCK), PROTOCOL_ERROR),
    "5.1 DATA after the peer's own reset": (RESET_BY_PEER, data(1, b"x"), STREAM_CLOSED),
    "5.1 HEADERS after the peer's own reset": (RESET_BY_PEER, headers(1), STREAM_CLOSED),
    "5.1.1 an even stream": (b"", headers(2), PROTOCOL_ERROR),
    "5.1.1 a lower stream": (headers(5), headers(3), PROTOCOL_ERROR),
    "5.1.1 RST_STREAM on a stream that was skipped": (headers(5), reset(3, NO_ERROR), PROTOCOL_ERROR),
    "6.1 DATA without a stream": (b"", data(0, b"x"), PROTOCOL_ERROR),
    "6.1 padding as long as the payload": (OPEN, frame(0, 8, 1, b"\x05" + bytes(4)), PROTOCOL_ERROR),
    "6.1 padding without its length": (OPEN, frame(0, 8, 1, b""), PROTOCOL_ERROR),
    "6.1 padding as long as the payload, of a half-closed stream": (
        HALF_CLOSED,
        frame(0, 8, 1, b"\x05" + bytes(4)),
        PROTOCOL_ERROR,
    ),
    "6.1 padding as long as the payload, after a reset": (RESET_BY_US, frame(0, 8, 1, b"\x05" + bytes(4)), PROTOCOL_ERROR),
    "6.1 padding without its length, after a reset": (RESET_BY_US, frame(0, 9, 1, b""), PROTOCOL_ERROR),
    "6.2 HEADERS with too much padding, after a reset": (RESET_BY_US, frame(1, 13, 1, b"\x02a"), PROTOCOL_ERROR),
    "6.2 HEADERS shorter than a priority, after a reset": (RESET_BY_US, frame(1, 0x25, 1, bytes(4)), PROTOCOL_ERROR),
    "4.3 a block that cannot be read, after a reset": (RESET_BY_US, frame(1, 5, 1, b"\x40\x01"), COMPRESSION_ERROR),
    "6.4 RST_STREAM of another length, after a reset": (RESET_BY_US, frame(3, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    "6.9 WINDOW_UPDATE of another length, after a reset": (RESET_BY_US, frame(8, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    "6.2 HEADERS without a stream": (b"", headers(0), PROTOCOL_ERROR),
    "6.2 HEADERS without a stream and without their end": (b"", frame(1, 1, 0, BLOCK), PROTOCOL_ERROR),
    "6.2 HEADERS with too much padding": (b"", frame(1, 13, 1, bytes((len(BLOCK) + 1,)) + BLOCK), PROTOCOL_ERROR),
    "6.2 HEADERS shorter than a priority": (b"", frame(1, 0x25, 1, bytes(4)), PROTOCOL_ERROR),
    "6.3 PRIORITY without a stream": (b"", frame(2, 0, 0, bytes(5)), PROTOCOL_ERROR),
    "6.4 RST_STREAM without a stream": (b"", reset(0, NO_ERROR), PROTOCOL_ERROR),
    "6.4 RST_STREAM of another length": (OPEN, frame(3, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    "6.5 SETTINGS with a stream": (b"", frame(4, 0, 1, b""), PROTOCOL_ERROR),
    "6.5 an acknowledgement with content": (b"", frame(4, 1, 0, bytes(6)), FRAME_SIZE_ERROR),
    "6.5 SETTINGS of an odd length": (b"", frame(4, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    "6.5.2 ENABLE_PUSH": (b"", settings({2: 2}), PROTOCOL_ERROR),
    "6.5.2 INITIAL_WINDOW_SIZE": (b"", settings({4: 1 << 31}), FLOW_CONTROL_ERROR),
    "6.5.2 MAX_FRAME_SIZE too small": (b"", settings({5: 16383}), PROTOCOL_ERROR),
    "6.5.2 MAX_FRAME_SIZE too large": (b"", settings({5: 1 << 24}), PROTOCOL_ERROR),
    "RFC 8441 3 ENABLE_CONNECT_PROTOCOL": (b"", settings({8: 2}), PROTOCOL_ERROR),
    "RFC 8441 3 ENABLE_CONNECT_PROTOCOL taken back": (settings({8: 1}), settings({8: 0}), PROTOCOL_ERROR),
    "6.6 PUSH_PROMISE": (OPEN, frame(5, 4, 1, bytes(4)), PROTOCOL_ERROR),
    "6.7 PING with a stream": (b"", frame(6, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "6.7 PING of another length": (b"", frame(6, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "6.8 GOAWAY with a stream": (b"", frame(7, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "6.8 GOAWAY that is too short": (b"", frame(7, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "6.9 WINDOW_UPDATE by zero": (b"", window_update(0, 0), PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE of another length": (b"", frame(8, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    "6.9.1 the connection's window too large": (b"", window_update(0, (1 << 31) - 1), FLOW_CONTROL_ERROR),
    "6.9.2 a stream's window too large by SETTINGS": (
        OPEN + window_update(1, 1 << 30),
        settings({4: 1 << 30}),
        FLOW_CONTROL_ERROR,
    ),
    "6.10 CONTINUATION without a stream": (b"", frame(1, 1, 1, BLOCK) + frame(9, 4, 0, b""), PROTOCOL_ERROR),
    "6.10 CONTINUATION after the end": (OPEN, frame(9, 4, 1, BLOCK), PROTOCOL_ERROR),
}
STREAM_ERRORS = {
    "5.1 DATA on a half-closed stream": (HALF_CLOSED, data(1, b"x"), STREAM_CLOSED),
    "5.1 HEADERS on a half-closed stream": (HALF_CLOSED, headers(1), STREAM_CLOSED),
    "5.3.1 HEADERS of a stream that depends on itself": (b"", frame(1, 0x25, 1, SELF + b"\x10" + BLOCK), PROTOCOL_ERROR),
    "5.3.1 PRIORITY of a stream that depends on itself": (OPEN, frame(2, 0, 1, SELF + b"\x10"), PROTOCOL_ERROR),
    "6.3 PRIORITY of another length": (OPEN, frame(2, 0, 1, bytes(4)), FRAME_SIZE_ERROR),
    "6.9 WINDOW_UPDATE by zero": (OPEN, window_update(1, 0), PROTOCOL_ERROR),
    "6.9.1 a stream's window too large": (OPEN, window_update(1, (1 << 31) - 1), FLOW_CONTROL_ERROR),
    "8.1 HEADERS in the middle": (OPEN, headers(1, ((b"a", b"b"),), end=False), PROTOCOL_ERROR),
    "8.1 pseudo-fields in trailers": (OPEN, headers(1, OK), PROTOCOL_ERROR),
    "8.1.1 more content than announced": (
        headers(1, (*POST, (b"content-length", b"1")), end=False),
        data(1, b"xx"),
        PROTOCOL_ERROR,
    ),
    "8.1.1 less content than announced": (
        headers(1, (*POST, (b"content-length", b"3")), end=False),
        data(1, b"xx", end=True),
        PROTOCOL_ERROR,
    ),
    "8.1.1 less content than announced, and trailers": (
        headers(1, (*POST, (b"content-length", b"3")), end=False) + data(1, b"xx"),
        headers(1, ((b"a", b"b"),)),
        PROTOCOL_ERROR,
    ),
    "8.1.1 no content where some was announced": (b"", headers(1, (*POST, (b"content-length", b"3"))), PROTOCOL_ERROR),
}


@pytest.mark.parametrize(("before", "wire", "code"), CONNECTION_ERRORS.values(), ids=CONNECTION_ERRORS)
def test_what_ends_a_connection(before: bytes | None, wire: bytes, code: int) -> None:
    peer = Peer(begun=before is not None)
    if before:
        peer.feed(before)
        assert peer.fault() is None
    peer.feed(wire)
    assert peer.fault() == code
    assert [told[1] for told in peer.only("connection")] == [code]
    open_streams = {told[1] for told in peer.only("request")} - {told[1] for told in peer.only("closed")}
    assert not open_streams, "each has heard of its end"
    peer.feed(headers(21))
    assert peer.wire() == b"", "nothing is heard or said after the end"


@pytest.mark.parametrize(("before", "wire", "code"), STREAM_ERRORS.values(), ids=STREAM_ERRORS)
def test_what_ends_a_stream(before: bytes, wire: bytes, code: int) -> None:
    peer = Peer()
    peer.feed(before)
    assert peer.resets() == []
    begun = bool(peer.only("request"))
    peer.feed(wire)
    assert peer.resets() == [(1, code)]
    assert peer.only("reset") == ([("reset", 1, code, False)] if begun else [])
    assert len(peer.session.streams) == 0
    peer.feed(headers(3))
    assert peer.recorded[-1] == ("request", 3, GET, True), "the connection lives"


def test_what_was_under_way_when_a_stream_was_reset_is_ignored() -> None:
    peer = Peer()
    peer.feed(OPEN)
    peer.session.reset(peer.streams[1], REFUSED_STREAM)
    assert peer.resets() == [(1, REFUSED_STREAM)]
    told = len(peer.recorded)
    peer.feed(data(1, b"x" * 100) + headers(1, ((b"a", b"b"),)) + window_update(1, 5) + reset(1, NO_ERROR))
    assert (peer.fault(), len(peer.recorded)) == (None, told)
    assert peer.session._owed == 100, "it has taken from the connection's window"


def test_unknown_frames_unknown_settings_and_unknown_flags_are_ignored() -> None:
    peer = Peer()
    peer.feed(frame(0xFA, 0xFF, 7, b"x") + settings({0xABCD: 5}) + frame(6, 0xFE, 0, b"12345678") + frame(4, 1, 0, b""))
    assert [(kind, payload) for kind, _, _, payload in peer.frames()] == [(4, b""), (6, b"12345678")]


def test_the_reserved_bit_is_ignored() -> None:
    peer = Peer()
    peer.feed(frame(1, 5, 1 | 1 << 31, BLOCK))
    assert peer.only("request") == [("request", 1, GET, True)]


@pytest.mark.parametrize("code", [NO_ERROR, REFUSED_STREAM])
def test_a_reset_of_the_peer_is_an_event(code: int) -> None:
    peer = Peer()
    peer.feed(OPEN + reset(1, code))
    assert peer.recorded[1:] == [("closed", 1), ("reset", 1, code, False)]


class TestClient:
    """Errors that only a client can detect."""

    def test_no_server_pushes(self) -> None:
        peer = Peer(client=True)
        stream = peer.request()
        peer.wire()
        peer.feed(frame(5, 4, stream.id, bytes(4)))
        assert peer.fault() == PROTOCOL_ERROR

    def test_no_server_begins_streams(self) -> None:
        peer = Peer(client=True)
        peer.feed(headers(2, OK))
        assert peer.fault() == PROTOCOL_ERROR

    def test_no_server_answers_what_was_not_asked(self) -> None:
        peer = Peer(client=True)
        peer.request()
        peer.wire()
        peer.feed(headers(3, OK))
        assert peer.fault() == PROTOCOL_ERROR

    def test_no_server_enables_push(self) -> None:
        peer = Peer(client=True)
        peer.feed(settings({2: 1}))
        assert peer.fault() == PROTOCOL_ERROR

    def test_content_before_a_head_ends_the_stream(self) -> None:
        peer = Peer(client=True)
        peer.request()
        peer.wire()
        peer.feed(data(1, b"x"))
        assert peer.resets() == [(1, PROTOCOL_ERROR)]

    @pytest.mark.parametrize(
        "wire",
        [headers(1, ((b":status", b"103"),)), headers(1, ((b":status", b"101"),), end=False)],
        ids=["an interim head that ends", "101"],
    )
    def test_interim_heads_that_cannot_be(self, wire: bytes) -> None:
        peer = Peer(client=True)
        peer.request()
        peer.wire()
        peer.feed(wire)
        assert peer.resets() == [(1, PROTOCOL_ERROR)]

    def test_interim_heads_then_one_then_content_then_trailers(self) -> None:
        peer = Peer(client=True)
        peer.request()
        hints: tuple[tuple[bytes, bytes], ...] = ((b":status", b"103"), (b"link", b"</a>"))
        peer.feed(headers(1, hints, end=False) + headers(1, OK, end=False) + data(1, b"x") + headers(1, ((b"a", b"b"),)))
        assert peer.recorded == [
            ("headers", 1, hints, False),
            ("headers", 1, OK, False),
            ("data", 1, b"x", False),
            ("trailers", 1, ((b"a", b"b"),)),
            ("closed", 1),
        ]

    def test_too_many_interim_heads_end_the_stream(self) -> None:
        peer = Peer(client=True)
        peer.request()
        peer.wire()
        peer.feed(headers(1, ((b":status", b"103"),), end=False) * 33)
        assert [stream for stream, _ in peer.resets()] == [1]

    @pytest.mark.parametrize(
        ("fields", "bodiless"),
        [(OK, True), (((b":status", b"304"),), False), (((b":status", b"204"),), False)],
        ids=["HEAD", "304", "204"],
    )
    def test_a_length_without_content_where_there_is_none(
        self, *, fields: tuple[tuple[bytes, bytes], ...], bodiless: bool
    ) -> None:
        peer = Peer(client=True)
        told = (*fields, (b"content-length", b"5"))
        peer.request(bodiless=bodiless)
        peer.feed(headers(1, told))
        assert peer.recorded == [("headers", 1, told, True), ("closed", 1)]
        peer.request(bodiless=bodiless)
        peer.wire()
        peer.feed(headers(3, told, end=False) + data(3, b"12345", end=True))
        assert peer.resets() == [(3, PROTOCOL_ERROR)]

    def test_a_refused_stream_was_not_seen(self) -> None:
        peer = Peer(client=True)
        peer.request()
        peer.feed(reset(1, REFUSED_STREAM))
        assert peer.recorded == [("closed", 1), ("reset", 1, REFUSED_STREAM, True)]

    def test_one_that_was_answered_was_seen(self) -> None:
        peer = Peer(client=True)
        peer.request()
        peer.feed(headers(1, OK, end=False) + reset(1, REFUSED_STREAM))
        assert peer.recorded[-1] == ("reset", 1, REFUSED_STREAM, False)

    def test_streams_above_the_last_of_goaway_were_not_seen(self) -> None:
        peer = Peer(client=True)
        for _ in range(3):
            peer.request()
        peer.feed(goaway(3, NO_ERROR, b""))
        assert peer.only("reset") == [("reset", 5, REFUSED_STREAM, True)]
        assert (peer.session.available, len(peer.session.streams)) == (0, 2)
        assert peer.recorded[-1] == ("goaway", NO_ERROR)
        peer.feed(headers(1, OK) + headers(3, OK))
        assert len(peer.session.streams) == 0

    def test_no_more_streams_than_the_peer_allows_or_we_want(self) -> None:
        peer = Peer(Config(streams=10), client=True)
        assert peer.session.available == 10
        peer.feed(settings({3: 2}))
        assert peer.session.available == 2
        peer.request()
        peer.request()
        peer.feed(settings({3: 1}))
        assert peer.session.available == 0


class TestServer:
    """Shutdown of a server."""

    def test_it_says_twice_that_it_goes(self) -> None:
        peer = Peer()
        peer.feed(OPEN)
        peer.session.shutdown()
        assert peer.frames() == [(7, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0"), (6, 0, 0, b"draining")]
        peer.feed(headers(3))
        assert len(peer.session.streams) == 2, "what was under way is served"
        peer.feed(frame(6, 1, 0, b"draining"))
        assert peer.frames() == [(7, 0, 0, b"\0\0\0\x03\0\0\0\0")]
        peer.feed(headers(5) + data(5, b"x") + window_update(5, 1))
        assert (len(peer.session.streams), peer.wire()) == (2, b""), "what comes after the last is ignored"
        assert not peer.session.drained
        peer.session.send_headers(peer.streams[3], OK, end=True)
        peer.feed(data(1, b"", end=True))
        peer.session.send_headers(peer.streams[1], OK, end=True)
        assert peer.session.drained

    def test_a_second_call_does_not_wait_for_the_peer(self) -> None:
        peer = Peer()
        peer.session.shutdown()
        peer.wire()
        peer.session.shutdown()
        assert peer.frames() == [(7, 0, 0, bytes(8))]
        assert peer.session.drained

    def test_more_streams_than_are_allowed_are_refused(self) -> None:
        peer = Peer(Config(streams=2))
        peer.feed(headers(1) + headers(3) + headers(5))
        assert peer.resets() == [(5, REFUSED_STREAM)]
        assert [told[1] for told in peer.only("request")] == [1, 3]
        peer.session.send_headers(peer.streams[1], OK, end=True)
        peer.feed(headers(7))
        assert [told[1] for told in peer.only("request")] == [1, 3, 7]
