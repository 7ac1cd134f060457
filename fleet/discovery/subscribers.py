"""A list of callbacks for changes. An exception in one callback does not prevent the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from fleet.discovery.sources import Unsubscribe

__all__ = ["Subscribers"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Subscribers(Generic[T]):
    """Callbacks in the order in which they were added. May be changed while they are called."""

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[T], None]] = {}

    def add(self, on_change: Callable[[T], None]) -> Unsubscribe:
        """Call on_change with every value from now on, until the returned function is called."""
        token = object()
        self._callbacks[token] = on_change
        return lambda: self._drop(token)

    def tell(self, value: T) -> None:
        for on_change in tuple(self._callbacks.values()):
            try:
                on_change(value)
            except Exception:  # noqa: BLE001  # an error in one callback must not stop the others
                _log.exception("a subscriber failed")

    def _drop(self, token: object) -> None:
        self._callbacks.pop(token, None)
