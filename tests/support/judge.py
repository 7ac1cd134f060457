"""Independent parsing of messages by h11, which shares no code with the proxy or with the strict reader of these tests.

Where h11 is more lenient than RFC 9112 (bare line feeds, folded lines, control characters in values), the strict reader is not.
So bytes that both accept with the same result are unambiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import h11

from tests.support.strict_reader import Message, NotStrict, read_request

__all__ = ["Disagreement", "Judged", "agreed_requests", "judged_answer"]

Fields = list[tuple[bytes, bytes]]

_LIMIT = 1 << 30
"""Maximum bytes of one head for h11: in effect no limit."""

WINDOW_BYTES = 4096
STRICT_BYTES = 64 * 1024
"""Longer requests are only checked by h11, because the strict reader takes quadratic time in the number of chunks."""


class Disagreement(Exception):
    """One parser refuses what another accepts, or they return different results."""


@dataclass
class Judged:
    """One message as h11 parses it. Field names are in lower case."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.fields if other == name]


def _request(data: bytes) -> tuple[Judged, bytes] | None:
    """Parse one request with a new h11 connection, because h11 stops after a request with "Connection: close" or an upgrade."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LIMIT)
    connection.receive_data(data)
    head = connection.next_event()
    if head is h11.NEED_DATA:
        return None
    assert isinstance(head, h11.Request)
    message = Judged(bytes(head.method), bytes(head.target), fields=_fields(head.headers))
    return (message, connection.trailing_data[0]) if _body(connection, message) else None


def judged_answer(data: bytes, method: bytes = b"GET", *, upgrade: bool = False) -> tuple[Judged, bytes]:
    """The first response to a request with this method, interim or final, and the remaining bytes; no more bytes will follow.

    Raises Disagreement if it is not a valid response.
    """
    try:
        return _answer(data, method, upgrade=upgrade)
    except h11.RemoteProtocolError as error:
        raise Disagreement(f"refused by h11, {error}: {data[:300]!r}") from error


def _answer(data: bytes, method: bytes, *, upgrade: bool) -> tuple[Judged, bytes]:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LIMIT)
    asks: Fields = [(b"Connection", b"upgrade"), (b"Upgrade", b"any")] if upgrade else []
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a"), *asks]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    head = connection.next_event()
    if not isinstance(head, (h11.InformationalResponse, h11.Response)):
        raise Disagreement(f"h11 needs more than {data[:200]!r}")
    message = Judged(status=head.status_code, fields=_fields(head.headers))
    if isinstance(head, h11.Response) and not _body(connection, message):
        raise Disagreement(f"h11 needs more of the body of {data[:200]!r}")
    return message, connection.trailing_data[0]


def agreed_requests(data: bytes, *, switched: bool = False) -> list[Judged]:
    """The complete requests of a connection, which both parsers must read in the same way. Bytes after an upgrade request are not
    parsed if the connection has `switched`. Raises Disagreement."""
    found: list[Judged] = []
    at = 0
    while at < len(data) and not (switched and found and found[-1].all(b"upgrade")):
        piece, judged = _first(data, at)
        if judged is None:
            if len(piece) <= STRICT_BYTES and _strictly(piece) is not None:
                raise Disagreement(f"only one reader finds an end in {piece[:300]!r}")
            break
        message, rest = judged
        size = len(piece) - len(rest)
        if size <= STRICT_BYTES:
            strict = _strictly(piece[:size])
            if strict is None or strict[1] or _content(strict[0]) != _content(message):
                raise Disagreement(f"read in two ways: {piece[:300]!r}")
        found.append(message)
        at += size
    return found


def _first(data: bytes, at: int) -> tuple[bytes, tuple[Judged, bytes] | None]:
    """The request at an offset, parsed from as few bytes as needed, because thousands may follow it."""
    size = WINDOW_BYTES
    while True:
        piece = data[at : at + size]
        judged = _judged(piece)
        if judged is not None or at + size >= len(data):
            return piece, judged
        size *= 8


def _strictly(data: bytes) -> tuple[Message, bytes] | None:
    try:
        return read_request(data)
    except NotStrict as error:
        raise Disagreement(f"not strict, {error}: {data[:300]!r}") from error


def _judged(data: bytes) -> tuple[Judged, bytes] | None:
    try:
        return _request(data)
    except h11.RemoteProtocolError as error:
        raise Disagreement(f"refused by h11, {error}: {data[:300]!r}") from error


def _content(message: Message | Judged) -> tuple[bytes, bytes, Fields, bytes, Fields]:
    return message.method, message.target, message.fields, message.body, message.trailers


def _fields(headers: Sequence[tuple[bytes, bytes]]) -> Fields:
    return [(bytes(name), bytes(value)) for name, value in headers]


def _body(connection: h11.Connection, message: Judged) -> bool:
    """Read the body to its end. Returns False if the end is missing."""
    parts = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            message.body, message.trailers = b"".join(parts), _fields(event.headers)
            return True
        else:
            return False
