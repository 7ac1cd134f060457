"""Server-sent events (HTML Living Standard, section 9.2) from bytes as they arrive. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["MAX_EVENT_BYTES", "EventError", "events"]

MAX_EVENT_BYTES = 4 << 20
"""An event with an application in it takes some kilobytes."""


class EventError(Exception):
    """The bytes are no events."""


def events(pieces: Iterable[bytes]) -> Iterator[tuple[str, str] | None]:
    """The name and the data of each event; None after each piece of bytes, so that the caller can look at the clock."""
    name, data, size = "", list[str](), 0
    for line in _lines(pieces):
        if line is None:
            yield None
        elif line:
            field, _, value = line.partition(":")
            if field == "event":
                name = value.removeprefix(" ")
            elif field == "data":
                data.append(value.removeprefix(" "))
                size += len(line)  # with the field's name: lines without anything in them are kept as well
                if size > MAX_EVENT_BYTES:
                    raise EventError("an event is too long")
        else:
            if data:
                yield name or "message", "\n".join(data)
            name, data, size = "", [], 0


def _lines(pieces: Iterable[bytes]) -> Iterator[str | None]:
    """Whole lines; None after each piece. A line ends with LF or CR LF, as every server writes it."""
    rest = bytearray()
    for piece in pieces:
        searched = len(rest)
        rest += piece
        begin = 0
        while (end := rest.find(b"\n", max(begin, searched))) >= 0:
            yield rest[begin:end].removesuffix(b"\r").decode(errors="replace")
            begin = end + 1
        del rest[:begin]
        if len(rest) > MAX_EVENT_BYTES:
            raise EventError("a line is too long")
        yield None
