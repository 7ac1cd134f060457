"""Decoding of lists and watch events from an API server, without decoding the objects in them. Bytes in, values out.

All functions raise ValueError for data of another format.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fleet.discovery.kubernetes.objects import Head

__all__ = ["Event", "EventError", "Page", "decode_event", "decode_page", "head_of", "number"]


class Page(msgspec.Struct, frozen=True):
    """A page of a list; `token` is used to fetch the next page, and is empty on the last one."""

    version: int
    token: str
    items: Sequence[msgspec.Raw]


class Event(msgspec.Struct, frozen=True):
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and the object; a bookmark's object has only a version."""

    type: str
    object: msgspec.Raw


class EventError(msgspec.Struct, frozen=True):
    """The object of an ERROR event: kind Status of meta/v1."""

    code: int = 0
    message: str = ""

    @classmethod
    def of(cls, event: Event) -> EventError:
        return _errors.decode(event.object)


class _ListMeta(msgspec.Struct, frozen=True, rename={"resource_version": "resourceVersion", "token": "continue"}):
    resource_version: str
    token: str = ""


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Object(msgspec.Struct, frozen=True, gc=False):
    metadata: Head


_lists = msgspec.json.Decoder(_List)
_events = msgspec.json.Decoder(Event)
_errors = msgspec.json.Decoder(EventError)
_objects = msgspec.json.Decoder(_Object)


def decode_page(data: bytes) -> Page:
    found = _lists.decode(data)
    return Page(number(found.metadata.resource_version), found.metadata.token, found.items or ())


def decode_event(line: bytes) -> Event:
    return _events.decode(line)


def head_of(data: msgspec.Raw) -> Head:
    return _objects.decode(data).metadata


def number(version: str) -> int:
    """A resource version: a decimal number that increases, in every API server's own storage. Other formats cannot be ordered."""
    if not (version.isascii() and version.isdigit()):
        raise ValueError(f"resource version {version[:64]!r} is not a number")
    return int(version)
