"""The known attacks: each ends in GOAWAY after a bounded amount of work; the behaviour of normal peers does not."""

from __future__ import annotations

from itertools import pairwise

import pytest

from interceptor.http2.core.config import DEFAULT_WINDOW, MAX_SETTINGS, Config
from interceptor.http2.core.control import STREAMS_PER_UNIT
from interceptor.http2.core.floods import MAX_CONTINUATIONS, MAX_UNTAKEN_OUTPUT, Allowance
from interceptor.http2.core.frames import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    ConnectionFault,
    frame,
    reset,
    settings,
    window_update,
)
from interceptor.http2.core.session import UNITS_BEHIND, UNITS_PER_TURN
from tests.support.h2_events import IgnoredStream
from tests.support.h2_memory import GET, OK, POST, Peer, data, headers, literal

BLOCK = literal(GET)


def flood(peer: Peer, wire: bytes, most: int) -> int:
    """How often a frame was accepted before the connection ended."""
    for at in range(most):
        peer.feed(wire)
        if peer.session.closed:
            assert peer.fault() == ENHANCE_YOUR_CALM
            return at
        peer.wire()
    raise AssertionError("the connection lives")


def opened(*, answered: bool = False) -> Peer:
    peer = Peer()
    peer.feed(headers(1, POST, end=False))
    if answered:
        peer.session.send_headers(peer.streams[1], OK)
    peer.wire()
    return peer


FLOODS = {
    "SETTINGS": (settings({}), 20),
    "SETTINGS that change windows": (settings({4: 1}) + settings({4: 1 << 20}), 10),
    "PING": (frame(6, 0, 0, bytes(8)), 101),
    "PRIORITY": (frame(2, 0, 3, bytes(5)), 501),
    "unknown frames": (frame(0xEE, 0, 0, b""), 501),
    "GOAWAY": (frame(7, 0, 0, bytes(8)), 501),
    "empty DATA": (data(1, b""), 101),
    "DATA of padding": (frame(0, 8, 1, b"\x03" + bytes(3)), 101),
    "WINDOW_UPDATE of the connection": (window_update(0, 1), 1065),
    "WINDOW_UPDATE of a stream": (window_update(1, 1), 1065),
}


@pytest.mark.parametrize(("wire", "most"), FLOODS.values(), ids=FLOODS)
def test_floods_of_frames_that_cost_the_peer_nothing(wire: bytes, most: int) -> None:
    assert flood(opened(), wire, most + 1) <= most


def test_rapid_reset() -> None:
    """CVE-2023-44487: each stream is opened and reset at once, so that the limit of open streams does not help."""
    peer = Peer()
    for number in range(1, 1000, 2):
        peer.feed(headers(number) + reset(number, CANCEL))
        if peer.session.closed:
            break
        peer.wire()
    assert peer.fault() == ENHANCE_YOUR_CALM
    assert len(peer.only("request")) <= 201


MADE = {
    "WINDOW_UPDATE by zero": b"zero",
    "WINDOW_UPDATE above the limit": b"limit",
    "DATA after the end": b"data",
    "HEADERS after the end": b"headers",
    "PRIORITY of another length": b"priority",
    "PRIORITY on itself": b"itself",
}


@pytest.mark.parametrize("how", MADE.values(), ids=MADE)
def test_made_you_reset(how: bytes) -> None:
    """CVE-2025-8671: the peer makes us reset streams, while their requests continue at backends."""
    peer = Peer()
    for number in range(1, 1000, 2):
        broken = {
            b"zero": window_update(number, 0),
            b"limit": window_update(number, (1 << 31) - 1),
            b"data": data(number, b"x"),
            b"headers": headers(number),
            b"priority": frame(2, 0, number, bytes(4)),
            b"itself": frame(2, 0, number, number.to_bytes(4, "big") + b"\0"),
        }[how]
        peer.feed(headers(number) + broken)
        if peer.session.closed:
            break
        peer.wire()
    assert peer.fault() == ENHANCE_YOUR_CALM
    assert len(peer.only("request")) <= 201
    assert len(peer.only("reset")) == len(peer.only("request")), "every user was told"


@pytest.mark.parametrize("fields", [(*GET, (b"A", b"b")), (*GET, (b"", b""))], ids=["malformed", "names of no length"])
def test_requests_that_are_none(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    peer = Peer()
    for number in range(1, 1000, 2):
        peer.feed(headers(number, fields))
        if peer.session.closed:
            break
        assert peer.resets() == [(number, PROTOCOL_ERROR)]
    assert peer.fault() == ENHANCE_YOUR_CALM


def test_more_streams_than_are_allowed_again_and_again() -> None:
    peer = Peer(Config(streams=1))
    peer.feed(headers(1))
    for number in range(3, 1000, 2):
        peer.feed(headers(number))
        if peer.session.closed:
            break
        assert peer.resets() == [(number, REFUSED_STREAM)]
    assert peer.fault() == ENHANCE_YOUR_CALM


def test_a_client_that_cancels_half_of_its_calls_lives() -> None:
    peer = Peer()
    for number in range(1, 8000, 4):
        peer.feed(headers(number) + headers(number + 2) + reset(number, CANCEL))
        peer.session.send_headers(peer.streams[number + 2], OK, end=True)
        peer.wire()
    assert not peer.session.closed


def test_a_client_that_cancels_all_of_its_calls_slowly_lives() -> None:
    peer = Peer()
    for number in range(1, 2000, 2):
        peer.now += 0.06
        peer.feed(headers(number) + reset(number, CANCEL))
        peer.wire()
    assert not peer.session.closed


def test_a_backend_that_resets_all_streams_lives() -> None:
    """Like a server that answers before it has read the request (RFC 9113 8.1), or is at its limit."""
    peer = Peer(client=True)
    for number in range(1, 2000, 4):
        peer.request(POST, end=False)
        peer.request(POST, end=False)
        peer.wire()
        peer.feed(headers(number, OK) + reset(number, 0) + reset(number + 2, REFUSED_STREAM))
    assert not peer.session.closed


def test_a_window_full_of_small_messages_under_way_when_a_stream_is_reset() -> None:
    peer = Peer(client=True)
    for number in range(1, 20, 2):
        peer.request()
        peer.feed(headers(number, OK, end=False))
        peer.session.reset(peer.streams[number], CANCEL)
        peer.feed(data(number, b"message") * 1000 + headers(number, ((b"grpc-status", b"0"),)))
        peer.wire()
    assert not peer.session.closed
    assert flood(peer, data(1, b""), 1000) == 100


def test_a_client_that_pings_for_each_answer_lives() -> None:
    """Like grpc-go, to measure bandwidth."""
    peer = Peer()
    for number in range(1, 4000, 2):
        peer.feed(headers(number) + frame(6, 0, 0, bytes(8)))
        peer.session.send_headers(peer.streams[number], OK, end=True)
        peer.wire()
    assert not peer.session.closed


@pytest.mark.parametrize("payload", [b"", b"\0\0\0"], ids=["empty", "tiny"])
def test_a_block_of_continuations_without_end(payload: bytes) -> None:
    """CVE-2024-27316 and others."""
    peer = Peer()
    peer.feed(frame(1, 1, 1, BLOCK))
    assert flood(peer, frame(9, 0, 1, payload), 1000) == MAX_CONTINUATIONS


def test_a_block_that_is_too_long() -> None:
    peer = Peer()
    peer.feed(frame(1, 1, 1, bytes(16384)))
    assert flood(peer, frame(9, 0, 1, bytes(16384)), 1000) == 3


def test_a_list_that_is_too_large_ends_its_own_stream_only() -> None:
    """Behind a proxy, the other streams are of others."""
    peer, large = opened(), literal((*GET, (b"x", bytes(40_000))))
    pieces = [large[at : at + 16384] for at in range(0, len(large), 16384)]
    peer.feed(frame(1, 1, 3, pieces[0]) + frame(9, 0, 3, pieces[1]) + frame(9, 4, 3, pieces[2]) + headers(5, GET))
    assert not peer.session.closed
    assert [head.too_large for head in peer.heads] == [False, True, False]


def test_a_block_in_some_frames_is_none() -> None:
    peer = Peer()
    peer.feed(
        frame(1, 1, 1, b"") + b"".join(frame(9, 0, 1, BLOCK[at : at + 5]) for at in range(0, 50, 5)) + frame(9, 4, 1, BLOCK[50:])
    )
    assert peer.recorded == [("request", 1, GET, True)]


def test_settings_with_thousands_of_values() -> None:
    peer = Peer()
    peer.feed(frame(4, 0, 0, b"\0\x04\0\0\0\x01" * (MAX_SETTINGS + 1)))
    assert peer.fault() == ENHANCE_YOUR_CALM


def test_windows_that_open_by_a_byte() -> None:
    """CVE-2019-9511: we would send a large response in frames of one byte. Each is charged, and earns no allowance."""
    peer = Peer()
    peer.feed(settings({4: 0}) + headers(1))
    peer.session.send_headers(peer.streams[1], OK)
    peer.session.send_data(peer.streams[1], bytes(100_000))
    peer.wire()
    assert flood(peer, window_update(1, 1), 1000) < 600


def test_a_reader_that_tells_of_every_read_lives() -> None:
    peer = Peer()
    peer.feed(headers(1))
    peer.session.send_headers(peer.streams[1], OK)
    for _ in range(500):
        peer.session.send_data(peer.streams[1], bytes(14_000))
        peer.wire()
        peer.feed((window_update(0, 1400) + window_update(1, 1400)) * 10)
    assert (peer.session.closed, peer.session.queued) == (False, 0)


def _open_by_bytes(peer: Peer, numbers: range, *, seconds: float) -> None:
    """What grpcio sends while its connection's window is closed, and applications read the beginnings of messages: every two
    milliseconds the five bytes of one are read, and other reads are told of."""
    began, at = peer.now, 0
    while peer.now < began + seconds and not peer.session.closed:
        number, other = numbers[at % len(numbers)], numbers[(at + 7) % len(numbers)]
        peer.feed(window_update(number, 5) + window_update(0, 5) + window_update(other, 19))
        peer.wire()
        peer.now += 0.002
        at += 1


def test_a_slow_client_with_many_streams_lives() -> None:
    peer, numbers = Peer(), range(1, 200, 2)
    peer.feed(settings({4: 1 << 20}))
    for number in numbers:
        peer.feed(headers(number))
        peer.session.send_headers(peer.streams[number], OK)
        peer.session.send_data(peer.streams[number], bytes(10_000))
    peer.wire()
    assert peer.session.queued > 100 * 10_000 - DEFAULT_WINDOW - 1
    _open_by_bytes(peer, numbers, seconds=5)
    assert peer.session.queued < 100 * 10_000 - DEFAULT_WINDOW - 5 * 2000
    assert peer.fault() is None


def test_a_slow_backend_lives() -> None:
    """Its connection carries the requests of many clients."""
    peer = Peer(client=True)
    peer.feed(settings({4: 1 << 20}))
    opened = [peer.session.request(IgnoredStream(), POST) for _ in range(100)]
    for stream in opened:
        peer.session.send_data(stream, bytes(10_000))
    peer.wire()
    _open_by_bytes(peer, range(1, 200, 2), seconds=60)
    assert peer.session.queued < 100 * 10_000 - DEFAULT_WINDOW - 5 * 20_000
    assert peer.fault() is None


@pytest.mark.parametrize("kind", ["PING", "SETTINGS", "malformed requests"])
def test_answers_that_are_never_read(kind: str) -> None:
    """CVE-2019-9512, -9514, -9515: unread answers are buffered here. The buffer is limited, however slowly it grows."""
    peer = Peer()
    peer.session.hold()
    pong = frame(6, 1, 0, bytes(8))
    peer.session._put(pong * (MAX_UNTAKEN_OUTPUT * 15 // 16 // len(pong)))  # earlier answers, for a quick test
    bad = literal(((b"A", b"b"),))
    wire = {"PING": frame(6, 0, 0, bytes(8)) * 16, "SETTINGS": settings({}) * 16}.get(kind, b"")
    for number in range(1, 1 << 20, 32):
        peer.now += 100
        peer.feed(wire or b"".join(frame(1, 5, number + at, bad) for at in range(0, 32, 2)))
        if peer.session.closed:
            break
        assert peer.session._out_size <= MAX_UNTAKEN_OUTPUT
    assert peer.fault() == ENHANCE_YOUR_CALM


def test_a_peer_that_opens_no_window_can_be_seen() -> None:
    """Time limits are the caller's task."""
    peer = opened(answered=True)
    peer.session.send_data(peer.streams[1], bytes(1 << 20))
    peer.wire()
    assert (peer.session.queued, peer.streams[1].queued, peer.streams[1].stalled) == ((1 << 20) - 65535, (1 << 20) - 65535, True)


def test_a_turn_is_bounded_whatever_was_read() -> None:
    peer = Peer()
    wire = headers(1, POST, end=False) + data(1, b"x") * 1000
    more, turns, before = peer.session.feed(wire, 0.0), 1, 0
    while more:
        done = len(peer.recorded)
        assert done - before <= (UNITS_BEHIND if before else UNITS_PER_TURN)
        before = done
        more = peer.session.go_on(0.0)
        turns += 1
    assert (len(peer.recorded), turns) == (1001, 1 + -(-(1004 - UNITS_PER_TURN) // UNITS_BEHIND))


def test_few_requests_begin_in_a_turn() -> None:
    """Rapid reset, for as long as it is allowed: what is left of the first read goes on by two requests a turn."""
    peer, begun = Peer(), []
    more = peer.session.feed(b"".join(headers(number) + reset(number, CANCEL) for number in range(1, 300, 2)), 0.0)
    while more:
        begun.append(len(peer.only("request")))
        more = peer.session.go_on(0.0)
    assert (begun[0], len(peer.only("request"))) == (7, 150)
    assert max(after - before for before, after in pairwise(begun)) == 2


def test_a_block_that_is_not_remembered_takes_more_of_a_turn() -> None:
    peer = Peer()
    one = [headers(number, (*GET, (b"a", b"%0900d" % number))) for number in (1, 3, 5)]
    assert peer.session.feed(b"".join(one), 0.0)
    assert len(peer.recorded) == 1


def test_what_is_fed_while_something_is_left_comes_after_it() -> None:
    peer = Peer()
    assert peer.session.feed(headers(1, POST, end=False) + data(1, b"x") * 100, 0.0)
    assert peer.session.feed(data(1, b"last", end=True)[:5], 0.0)
    assert peer.session.feed(data(1, b"last", end=True)[5:], 0.0)
    while peer.session.go_on(0.0):
        pass
    assert [told[2] for told in peer.only("data")] == [b"x"] * 100 + [b"last"]


def test_allowances() -> None:
    """A burst, then what time and progress add, and never more than the burst."""
    allowance = Allowance("tests", burst=2, rate=1, gain=3)
    allowance.spend(100.0, 0)
    allowance.spend(100.0, 0)
    allowance.spend(101.0, 0)
    allowance.spend(101.0, 1, 2)
    with pytest.raises(ConnectionFault):
        allowance.spend(101.0, 1)


def test_settings_that_change_the_windows_of_many_streams_cost_as_much() -> None:
    peer = Peer()
    numbers = range(1, 200, 2)
    assert len(numbers) // STREAMS_PER_UNIT > UNITS_BEHIND
    for number in numbers:
        peer.feed(headers(number))
        while peer.session.go_on(0.0):
            pass
    assert peer.session.feed(b"".join(settings({4: window}) for window in range(1, 7)), 0.0)
    turns = [peer.session.peer.window]
    while peer.session.go_on(0.0):
        turns.append(peer.session.peer.window)
    assert (turns, peer.session.peer.window) == ([3, 4, 5], 6)
