"""One lock for each application, within this process. Across processes the journal is the lock."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

__all__ = ["Locks"]


class Locks:
    """Locks exist as long as somebody holds or awaits them."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, app: str) -> asyncio.Lock:
        """The lock of "namespace/name"."""
        lock = self._locks.get(app)
        if lock is None:
            lock = self._locks[app] = asyncio.Lock()
        return lock
