"""A second opinion of what bytes mean: h11, which shares nothing with the proxy, nor with the strict reader of these tests.

Where h11 is more lenient than RFC 9112 (a line feed alone ends its lines; folded lines; controls in values), the strict reader
is not: bytes that both read, and read alike, mean one thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import h11

from tests.wire.proxy_strict import Message, NotStrict, read_request

__all__ = ["Disagreement", "Judged", "agreed_requests", "judged_answer"]

Fields = list[tuple[bytes, bytes]]

_LIMIT = 1 << 30
"""Bytes of one head: how long it may be is not h11's to say."""

WINDOW_BYTES = 4096
STRICT_BYTES = 64 * 1024
"""Longer requests are for h11 alone: the strict reader takes the square of a body's chunks."""


class Disagreement(Exception):
    """One reader refuses what another takes, or takes it for something else."""


@dataclass
class Judged:
    """One message as h11 reads it. Names of fields are in lower case."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.fields if other == name]


def _request(data: bytes) -> tuple[Judged, bytes] | None:
    """A connection for each: h11 ends one after a request that asks for its end, and waits after one for another protocol."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LIMIT)
    connection.receive_data(data)
    head = connection.next_event()
    if head is h11.NEED_DATA:
        return None
    assert isinstance(head, h11.Request)
    message = Judged(bytes(head.method), bytes(head.target), fields=_fields(head.headers))
    return (message, connection.trailing_data[0]) if _body(connection, message) else None


def judged_answer(data: bytes, method: bytes = b"GET", *, upgrade: bool = False) -> tuple[Judged, bytes]:
    """The first response to a request of some method, interim or final, and what is left, when no more bytes will come.

    Raises Disagreement for what is none.
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
    """The whole requests of a connection, which both readers must read alike; what follows a request for another protocol is
    that protocol's if it was `switched` to. Raises Disagreement."""
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
    """The request that begins somewhere, read from as few bytes as hold it: there may be thousands behind it."""
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
    """Read on to the end; False when it has not come."""
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
