"""Leases that applications ask for by a call, beside those of their answers: their document, and how one changes. Pure.

A lease has a holder, which is a replica of the application, and ends at a time of the wall clock, because those who write the
document and those who count its leases are processes on different machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

__all__ = ["MAX_LEASES", "Leases", "TooMany", "changed", "decode_leases", "encode_leases", "replicas_kept", "rfc3339"]

MAX_LEASES: Final = 2000
"""Leases in one document: with uids as holders and the longest names that Kubernetes permits, it fits a ConfigMap (1 MiB)."""

MAX_OF_NAMESPACE: Final = MAX_LEASES // 2
"""Leases of the applications of one namespace, so that none takes the room of all others."""

Leases = Mapping[str, Mapping[str, float]]
"""By application and holder, until when: seconds since the epoch."""


class TooMany(Exception):
    """There is no room for another lease."""


class _Document(msgspec.Struct, frozen=True):
    leases: dict[str, dict[str, float]] = {}


def decode_leases(data: bytes | str) -> Leases:
    """{"leases": {"default/web": {"HOLDER": 1767225600.0}}}. Raises ValueError."""
    found = msgspec.json.decode(data, type=_Document).leases
    if sum(map(len, found.values())) > MAX_LEASES:
        raise ValueError(f"more than {MAX_LEASES} leases")
    return found


def encode_leases(leases: Leases) -> bytes:
    return msgspec.json.encode({"leases": {app: dict(sorted(leases[app].items())) for app in sorted(leases)}})


def changed(leases: Leases, app: str, holder: str, until: float, now: float) -> Leases:
    """The leases that are left at `now`, with this one ending at `until`; one that ends at once is removed. Raises TooMany."""
    left = {name: {who: end for who, end in held.items() if end > now} for name, held in leases.items()}
    mine = left.setdefault(app, {})
    is_new = mine.pop(holder, None) is None
    if until > now:
        mine[holder] = until
    if sum(map(len, left.values())) > MAX_LEASES:
        raise TooMany(f"there are {MAX_LEASES} leases already")
    namespace = app.partition("/")[0]
    of_namespace = sum(len(held) for name, held in left.items() if name.partition("/")[0] == namespace)
    if is_new and until > now and of_namespace > MAX_OF_NAMESPACE:
        raise TooMany(f"namespace {namespace} has {MAX_OF_NAMESPACE} leases already")
    return {name: held for name, held in left.items() if held}


def replicas_kept(held: Mapping[str, float], wall: float, *, most: float, quiet: float) -> int:
    """How many replicas keep an application awake at `wall` that may do so for `most` seconds after its last request, which was
    `quiet` seconds ago."""
    return 0 if quiet >= most else sum(end > wall for end in held.values())


def rfc3339(at: float) -> str:
    """A time in seconds since the epoch, for people."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
