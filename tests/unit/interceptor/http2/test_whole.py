"""Whole messages: whether they are passed on as one event or frame by frame, written at once or in parts, nobody sees a
difference, in whatever pieces the bytes come.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.core.messages import Fields
from interceptor.http2.core import frames
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import CANCEL, PREFACE, frame, reset, window_update
from tests.support.h2_events import IgnoredStream
from tests.support.h2_memory import GET, OK, POST, Peer, Told, data, headers

TRAILERS: Fields = ((b"grpc-status", b"0"),)
BODY = b"\0\0\0\0\3abc"


def sized(fields: Fields, size: int) -> Fields:
    return (*fields, (b"content-length", b"%d" % size))


class WholePeer(Peer):
    whole: ClassVar[bool] = True


REQUESTS = b"".join(
    (
        PREFACE + frames.settings({}) + frame(4, 1, 0, b""),
        headers(1, POST, end=False) + data(1, BODY, end=True),
        headers(3, POST, end=False) + data(3, BODY) + data(3, BODY, end=True),
        headers(5, POST, end=False) + data(5, BODY) + headers(5, TRAILERS),
        headers(7, sized(POST, 8), end=False) + data(7, BODY, end=True),
        headers(9, sized(POST, 9), end=False) + data(9, BODY, end=True),  # too short
        headers(11, sized(POST, 7), end=False) + data(11, BODY, end=True),  # too long
        headers(13, POST, end=False) + data(13, b"", end=True),
        headers(15, POST, end=False) + frame(0, 9, 15, b"\x02abc\0\0"),  # padded
        headers(17, POST, end=False) + data(15, BODY, end=True),  # of a stream that has ended: a stream error
        frame(6, 0, 0, b"12345678"),
        data(17, BODY, end=True),
        headers(19, (*POST, (b"A", b"b")), end=False) + data(19, BODY, end=True),  # malformed
        headers(21, POST, end=False) + reset(21, CANCEL),
        headers(23, POST, end=False) + data(23, bytes(16384), end=True),
        headers(25, GET) + headers(27, POST, end=False) + data(27, BODY, end=True),
        headers(29, POST, end=False) + window_update(29, 0) + data(29, BODY, end=True),
        headers(30, POST, end=False) + data(30, BODY, end=True),  # the connection ends
    )
)

RESPONSES = b"".join(
    (
        frames.settings({}) + frame(4, 1, 0, b""),
        *(headers(number, OK, end=False) + data(number, BODY) + headers(number, TRAILERS) for number in (1, 3, 5)),
        *(headers(number, OK, end=False) + data(number, BODY, end=True) for number in (7, 9)),
        headers(11, ((b":status", b"103"),), end=False) + headers(11, OK, end=False) + data(11, BODY, end=True),
        headers(13, OK, end=False) + data(13, BODY) + data(13, BODY) + headers(13, TRAILERS),
        *(headers(number, sized(OK, 8), end=False) + data(number, BODY, end=True) for number in (15, 17)),
        headers(19, sized(OK, 8), end=False) + data(19, BODY) + headers(19, TRAILERS),
        headers(21, sized(OK, 8), end=False) + data(21, BODY + b"!", end=True),
        headers(23, sized(OK, 8), end=False) + data(23, BODY[:-1]) + headers(23, TRAILERS),
        headers(25, ((b":status", b"204"),), end=False) + data(25, b"", end=True),
        *(headers(number, ((b":status", b"304"),), end=False) + data(number, BODY, end=True) for number in (27, 29)),
        headers(31, sized(OK, 8), end=False) + data(31, BODY, end=True),  # the answer to HEAD must not have it
        headers(33, OK) + headers(35, OK, end=False) + data(35, BODY) + headers(35, OK),  # no trailers
        headers(37, OK, end=False) + data(37, BODY) + headers(39, TRAILERS),  # of a stream that has no head
        headers(37, TRAILERS) + headers(41, OK, end=False) + data(41, BODY) + headers(41, TRAILERS),
        headers(43, OK, end=False) + data(43, bytes(16384), end=True),
        headers(45, OK, end=False) + data(45, BODY) + headers(45, TRAILERS, end=False),
    )
)


def received(kind: type[Peer], wire: bytes, cuts: list[int], *, client: bool) -> tuple[list[Told], bytes]:
    peer = kind(Config(streams=40), client=client, begun=False)
    if client:
        for number in range(1, 47, 2):
            peer.request(GET if number == 31 else POST, end=number % 4 == 1, bodiless=number == 31)
    ends = [0, *sorted(cuts), len(wire)]
    for begin, end in pairwise(ends):
        peer.feed(wire[begin:end])
    return peer.recorded, peer.wire()


@pytest.mark.parametrize(("wire", "client"), [(REQUESTS, False), (RESPONSES, True)], ids=["requests", "responses"])
def test_one_event_is_what_several_are(wire: bytes, *, client: bool) -> None:
    one_by_one = received(Peer, wire, [], client=client)
    assert received(WholePeer, wire, [], client=client) == one_by_one
    assert sum(told[0] == "data" for told in one_by_one[0]) >= 9


@settings(deadline=None)
@given(st.lists(st.integers(0, len(REQUESTS)), max_size=40))
def test_requests_in_any_pieces(cuts: list[int]) -> None:
    assert received(WholePeer, REQUESTS, cuts, client=False) == received(Peer, REQUESTS, [], client=False)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(RESPONSES)), max_size=40))
def test_responses_in_any_pieces(cuts: list[int]) -> None:
    assert received(WholePeer, RESPONSES, cuts, client=True) == received(Peer, RESPONSES, [], client=True)


def test_whole_messages_are_passed_on_at_once() -> None:
    """Otherwise the tests above compare nothing."""
    told: list[tuple[int, bytes]] = []

    class Noting(WholePeer):
        def on_request(self, stream, head, *, end, data=b""):  # type: ignore[no-untyped-def]
            told.append((stream.id, bytes(data)))
            super().on_request(stream, head, end=end, data=data)

    peer = Noting()
    peer.feed(headers(1, POST, end=False) + data(1, BODY, end=True) + headers(3, POST, end=False) + data(3, BODY))
    assert told == [(1, BODY), (3, b"")]


@pytest.mark.parametrize("kind", [Peer, WholePeer])
def test_the_windows_hold_for_whole_messages(kind: type[Peer]) -> None:
    """Their content counts as consumed, and is not more than the connection's window allows."""
    peer = kind(Config(window=65535, connection_window=65535))
    for number in range(1, 100, 2):
        peer.feed(headers(number, POST, end=False) + data(number, bytes(16_000), end=True))
        peer.session.reset(peer.streams[number], CANCEL)
        assert peer.session.receive_window + 16_000 * 3 > 65535, "opened again in time"
    peer.consumes = False
    for number in range(101, 111, 2):
        peer.feed(headers(number, POST, end=False) + data(number, bytes(16_000)) + data(number, b"", end=True))
    assert peer.fault() == frames.FLOW_CONTROL_ERROR


def test_more_than_is_allowed_at_once_is_refused_with_its_content() -> None:
    peer = WholePeer(Config(streams=1))
    peer.feed(b"".join(headers(number, POST, end=False) + data(number, BODY, end=True) for number in (1, 3, 5)))
    assert [line[:2] for line in peer.recorded] == [("request", 1), ("data", 1)]
    assert [stream for stream, _ in peer.resets()] == [3, 5]
    assert not peer.session.closed


def _sent(
    *, whole: bool, client: bool, message: tuple[Fields, bytes, Fields], window: int, hold: bool, before: int
) -> list[bytes]:
    """All that a session writes of three messages, the windows being opened afterwards."""
    peer = Peer(client=client, begun=True)
    peer.feed(frames.settings({4: window}))
    wires = []
    fields, content, trailers = message
    for number in (3, 7, 11):
        stream, other = None, number - 2
        if not client:
            peer.feed(headers(other) + headers(number))
            stream = peer.streams[number]
        if before and not client:
            peer.session.send_headers(peer.streams[other], OK)
            peer.session.send_data(peer.streams[other], bytes(before))
        if hold:
            peer.session.hold()
        if whole and client:
            stream = peer.session.request(IgnoredStream(), fields, data=content)
        elif whole and stream is not None:
            peer.session.send_message(stream, fields, content, trailers)
        elif client:
            stream = peer.session.request(IgnoredStream(), fields)
            peer.session.send_data(stream, content, end=True)
        else:
            assert stream is not None
            peer.session.send_headers(stream, fields)
            peer.session.send_data(stream, content, end=not trailers)
            if trailers:
                peer.session.send_trailers(stream, trailers)
        assert stream is not None
        wires.append(peer.wire())
        peer.session.release()
        wires.append(peer.wire())
        peer.feed(window_update(0, 100_000))
        if not stream.closed:
            peer.feed(window_update(stream.id, 100_000))
        wires.append(peer.wire())
    assert peer.fault() is None
    return wires


MESSAGES = st.tuples(
    st.sampled_from([OK, (*OK, (b"a", b"b" * 20_000))]),
    st.sampled_from([b"x", BODY, bytes(16_384), bytes(16_385), bytes(70_000), bytes(100_000)]),
    st.sampled_from([(), TRAILERS, ((b"long", b"l" * 17_000),)]),
)


@settings(deadline=None)
@given(st.booleans(), MESSAGES, st.sampled_from([0, 1, 8, 65_535, 1 << 20]), st.booleans(), st.sampled_from([0, 10, 66_000]))
def test_a_message_that_is_written_at_once_is_what_its_parts_are(
    client: bool, message: tuple[Fields, bytes, Fields], window: int, hold: bool, before: int
) -> None:
    if client:
        message = (POST, message[1], ())
    wires = [
        _sent(whole=whole, client=client, message=message, window=window, hold=hold, before=before) for whole in (True, False)
    ]
    assert wires[0] == wires[1]


def test_nothing_is_sent_on_a_stream_that_has_ended() -> None:
    peer = Peer()
    peer.feed(headers(1))
    stream = peer.streams[1]
    peer.session.send_message(stream, OK, BODY)
    peer.wire()
    peer.session.send_message(stream, OK, BODY, TRAILERS)
    assert peer.wire() == b""
