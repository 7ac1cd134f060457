"""Connections and exchanges that allow only the state transitions of their tables, and record the transitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interceptor.exchange import phases
from interceptor.exchange.exchange import Exchange
from interceptor.http1 import backend_states, states
from interceptor.http1.backend import BackendConnection
from interceptor.http1.client import ClientConnection

__all__ = ["StrictBackend", "StrictClient", "StrictExchange", "ways"]


def _held(owner: type, attribute: str, following: Mapping[int, frozenset[int]], names: Sequence[str]) -> Any:
    """A property that replaces an attribute: an assignment that the table does not allow fails; others are added to `went`."""
    slot = next(each.__dict__[attribute] for each in owner.__mro__ if attribute in each.__dict__)

    def assign(self: Any, after: int) -> None:
        try:
            before = slot.__get__(self)
        except AttributeError:
            self.went = set()  # at the first assignment
        else:
            assert after in following[before], f"{names[before]} -> {names[after]}"
            self.went.add((names[before], names[after]))
        slot.__set__(self, after)

    return property(slot.__get__, assign)


def ways(following: Mapping[int, frozenset[int]], names: Sequence[str]) -> set[tuple[str, str]]:
    """All transitions of a table, by names."""
    return {(names[before], names[after]) for before, all_after in following.items() for after in all_after}


class StrictClient(ClientConnection):
    __slots__ = ("went",)
    went: set[tuple[str, str]]
    _state: Any = _held(ClientConnection, "_state", states.NEXT, states.NAMES)


class StrictBackend(BackendConnection):
    __slots__ = ("went",)
    went: set[tuple[str, str]]
    _state: Any = _held(BackendConnection, "_state", backend_states.NEXT, backend_states.NAMES)


class StrictExchange(Exchange):
    __slots__ = ("went",)
    went: set[tuple[str, str]]
    phase: Any = _held(Exchange, "phase", phases.NEXT, phases.NAMES)
