"""The state of a list-and-watch: the newest version of each object, in whatever order lists and events arrive. Pure.

Resource versions are increasing numbers (API conventions, KEP-5504), so it is always known which of two is newer: neither a late
event nor an outdated list brings back a deleted object or removes an existing one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import msgspec

__all__ = ["MAX_OBJECTS", "Change", "Store"]

MAX_OBJECTS: Final = 500_000
"""Maximum number of objects: ten times what a large cluster has of one kind."""

T = TypeVar("T")


class Change(msgspec.Struct, Generic[T], frozen=True):
    """An object was added, changed or deleted. The key is "namespace/name"."""

    key: str
    before: T | None
    after: T | None


class Store(Generic[T]):
    """Takes events and lists; returns the resulting change, or None."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, T]] = {}
        self._whole_at = 0
        self._deleted: dict[str, int] = {}
        self._listings = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> T | None:
        kept = self._kept.get(key)
        return None if kept is None else kept[1]

    def items(self) -> Iterator[tuple[str, T]]:
        for key, (_, value) in self._kept.items():
            yield key, value

    # -- events ---------------------------------------------------------------------------------------------------

    def put(self, key: str, version: int, value: T) -> Change[T] | None:
        """A watch event: the object was added or changed."""
        return None if version <= self._whole_at else self.put_listed(key, version, value)

    def delete(self, key: str, version: int) -> Change[T] | None:
        """A watch event: the object was deleted, or no longer matches the selector."""
        if version <= self._whole_at:
            return None
        if self._listings:
            self._deleted[key] = version
        return self._remove(key, version)

    # -- lists ----------------------------------------------------------------------------------------------------

    @contextmanager
    def listing(self) -> Iterator[None]:
        """While a list is fetched and processed, deletions are remembered, because the list may be older than they are."""
        self._listings += 1
        try:
            yield
        finally:
            self._listings -= 1
            if not self._listings:
                self._deleted.clear()

    def put_listed(self, key: str, version: int, value: T) -> Change[T] | None:
        """The object as it is in a list."""
        if self._deleted.get(key, -1) > version:
            return None
        kept = self._kept.get(key)
        if kept is not None and kept[0] > version:
            return None
        if kept is None and len(self._kept) >= MAX_OBJECTS:
            raise OverflowError(f"more than {MAX_OBJECTS} objects")
        before = None if kept is None else kept[1]
        if before == value:
            self._kept[key] = (version, before)  # keep the equal value that subscribers may already hold
            return None
        self._kept[key] = (version, value)
        return Change(key, before, value)

    def whole(self, version: int) -> None:
        """A complete list at this version is being processed: older events are ignored."""
        self._whole_at = version

    def unlisted(self, seen: Callable[[str], bool]) -> list[str]:
        """The keys that a complete list did not contain."""
        return [key for key in self._kept if not seen(key)]

    def drop_unlisted(self, key: str, version: int) -> Change[T] | None:
        """Remove an object that a complete list at this version did not contain."""
        return self._remove(key, version)

    def forget_versions(self) -> None:
        """The server's version history has restarted, as after a restore: everything that follows is newer."""
        self._kept = {key: (0, value) for key, (_, value) in self._kept.items()}
        self._whole_at = 0
        self._deleted.clear()

    # -- both -----------------------------------------------------------------------------------------------------

    def discard(self, key: str) -> None:
        """Drop an object that is no longer wanted, without reporting a change."""
        self._kept.pop(key, None)

    def _remove(self, key: str, version: int) -> Change[T] | None:
        kept = self._kept.get(key)
        if kept is None or kept[0] > version:
            return None
        del self._kept[key]
        return Change(key, kept[1], None)
