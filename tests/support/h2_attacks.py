"""The known attacks over HTTP/2, as prepared bytes for `tests.support.senders`.

A connection of most of them is to end, in GOAWAY; it is then opened again at once, so that what is measured beside it is an
attacker who goes on. Blocks of fields are as short as attackers can make them: after the first one, indexes of the dynamic table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from interceptor.http2.core.config import DEFAULT_WINDOW
from interceptor.http2.core.frames import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_WINDOW,
    PING,
    PREFACE,
    PRIORITY,
    frame,
    reset,
    settings,
    window_update,
)

__all__ = ["ATTACKS", "Attack", "Made"]

Made = tuple[bytes, bytes]
"""The opening, and the brick of the wall."""

STREAMS = 1000
"""Of an opening that no proxy should accept whole."""
ALLOWED_STREAMS = 100
"""As many as a proxy should accept at once."""
INITIAL_WINDOW = 4
LONG = 4000
"""Bytes of a value that has room in a dynamic table of 4096 bytes."""
REPEATS = 16_000
"""Indexes of it in one block: each stands for all of its bytes."""

_GET, _POST, _HTTP = b"\x82", b"\x83", b"\x86"
_PATH, _AUTHORITY = 4, 1
"""Indexes of the static table."""
_BEGUN = PREFACE + settings({})


@dataclass(frozen=True)
class Attack:
    """What each of its connections sends, for the host of the backend."""

    what: str
    made: Callable[[bytes], Made]
    connections: int = 1
    ends: bool = True
    """Whether the proxy is to end its connections."""


def _named(index: int, value: bytes) -> bytes:
    """A field of the static table with a value of its own, which is kept in the dynamic table."""
    assert len(value) < 127
    return bytes((0x40 | index, len(value))) + value


def _first(host: bytes, path: bytes, method: bytes = _GET) -> bytes:
    """A block that puts two fields into the dynamic table: the authority, and then the path."""
    return method + _HTTP + _named(_AUTHORITY, host) + _named(_PATH, path)


_SAME = _GET + _HTTP + b"\xbe\xbf"
"""The same request, once more."""


def _streams(host: bytes, after: Callable[[int], bytes], *, path: bytes = b"/small", count: int = STREAMS) -> bytes:
    """GET requests, and what follows each."""
    return b"".join(
        frame(HEADERS, END_HEADERS | END_STREAM, number, _first(host, path) if number == 1 else _SAME) + after(number)
        for number in range(1, 2 * count, 2)
    )


def _posting(host: bytes) -> bytes:
    """One request, whose body never ends."""
    return _BEGUN + frame(HEADERS, END_HEADERS, 1, _first(host, b"/sink", _POST))


def _wall(brick: bytes) -> Callable[[bytes], Made]:
    return lambda host: (_posting(host), brick)


def _rapid_reset(host: bytes) -> Made:
    return _BEGUN + _streams(host, lambda number: reset(number, CANCEL)), b""


def _made_you_reset(host: bytes) -> Made:
    return _BEGUN + _streams(host, lambda number: window_update(number, 0)), b""


def _continuations(host: bytes) -> Made:
    return _BEGUN + frame(HEADERS, END_STREAM, 1, _first(host, b"/small")), frame(CONTINUATION, 0, 1, b"")


def _bomb(host: bytes) -> Made:
    """The host's entries are pushed out by the long one, so each block has them anew."""
    value = b"\x7f" + bytes((LONG - 127 & 127 | 128, LONG - 127 >> 7)) + b"l" * LONG
    long = frame(HEADERS, END_HEADERS | END_STREAM, 1, _GET + _HTTP + _literal(host) + b"\x40\x01l" + value)
    block = _GET + _HTTP + _literal(host) + b"\xbe" * REPEATS
    more = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, number, block) for number in range(3, 2 * ALLOWED_STREAMS, 2))
    return _BEGUN + long + more, b""


def _literal(host: bytes) -> bytes:
    """Path and authority that leave the dynamic table alone."""
    return bytes((_PATH, 6)) + b"/small" + bytes((_AUTHORITY, len(host))) + host


def _no_window(host: bytes) -> Made:
    downloads = _streams(host, lambda _: b"", path=b"/download", count=ALLOWED_STREAMS)
    return PREFACE + settings({INITIAL_WINDOW: 0}) + downloads, b""


def _wide(host: bytes) -> Made:
    wide = settings({INITIAL_WINDOW: LARGEST_WINDOW}) + window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW)
    return PREFACE + wide + _streams(host, lambda _: b"", path=b"/download", count=ALLOWED_STREAMS), b""


def _opened_windows(host: bytes) -> Made:
    wide = settings({INITIAL_WINDOW: 0}) + window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW)
    downloads = _streams(host, lambda _: b"", path=b"/download", count=ALLOWED_STREAMS)
    return PREFACE + wide + downloads, b"".join(window_update(number, 1 << 16) for number in range(1, 2 * ALLOWED_STREAMS, 2))


def _byte_window(host: bytes) -> Made:
    download = frame(HEADERS, END_HEADERS | END_STREAM, 1, _first(host, b"/download"))
    return PREFACE + settings({INITIAL_WINDOW: 0}) + download, window_update(1, 1)


ATTACKS = {
    "h2-rapid-reset": Attack("HTTP/2: rapid reset", _rapid_reset),
    "h2-made-you-reset": Attack("HTTP/2: resets that the proxy is made to send", _made_you_reset),
    "h2-continuations": Attack("HTTP/2: a block of empty CONTINUATION", _continuations),
    "h2-bomb": Attack("HTTP/2: blocks of 16 KB that stand for 64 MB of fields", _bomb),
    "h2-settings": Attack("HTTP/2: SETTINGS", _wall(settings({INITIAL_WINDOW: 1}) + settings({INITIAL_WINDOW: 1 << 20}))),
    "h2-pings": Attack("HTTP/2: PING", _wall(frame(PING, 0, 0, bytes(8)))),
    "h2-window-updates": Attack("HTTP/2: needless WINDOW_UPDATE", _wall(window_update(0, 1))),
    "h2-byte-window": Attack("HTTP/2: a download whose window opens by a byte", _byte_window),
    "h2-empty-data": Attack("HTTP/2: empty DATA", _wall(frame(DATA, 0, 1, b""))),
    "h2-priority": Attack("HTTP/2: PRIORITY", _wall(frame(PRIORITY, 0, 3, bytes(5)))),
    "h2-wide": Attack("HTTP/2: 100 downloads with the widest windows", _wide, ends=False),
    "h2-opened-windows": Attack("HTTP/2: 100 downloads whose windows are opened all the time", _opened_windows, ends=False),
    "h2-no-window": Attack("HTTP/2: 400 downloads with windows of zero bytes", _no_window, connections=4, ends=False),
}
"""By name; each is a row of the benchmark, and a test of `tests/system/test_neighbours.py`."""
