"""What an interceptor has at each backend, as its page /backends tells it: whoever stops backends asks there which are idle.

A backend that is not told of gets nothing new and has nothing that is not over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from fleet.discovery.sources import Backend

__all__ = ["BackendWork", "Work", "decode_work", "shown_work", "sum_of_work"]

Work = Mapping[str, Mapping[Backend, int]]
"""Exchanges, tunnels included, at each backend of a target, by the target's key."""


class BackendWork(msgspec.Struct, frozen=True):
    """One backend of the page."""

    host: str
    port: int
    in_flight: int


def shown_work(work: Work) -> dict[str, Sequence[BackendWork]]:
    """As the page shows it."""
    return {key: [BackendWork(one.host, one.port, count) for one, count in at.items()] for key, at in work.items()}


def decode_work(page: bytes) -> Work:
    """What the page says. Raises ValueError."""
    shown = msgspec.json.decode(page, type=dict[str, list[BackendWork]])
    return {key: {Backend(one.host, one.port): one.in_flight for one in at} for key, at in shown.items()}


def sum_of_work(works: Sequence[Mapping[Backend, int]]) -> dict[Backend, int]:
    """Of one target, over several interceptors."""
    total: dict[Backend, int] = {}
    for work in works:
        for backend, count in work.items():
            total[backend] = total.get(backend, 0) + count
    return total
