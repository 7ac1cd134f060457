"""What a list-and-watch knows: the newest version of each object, whatever order lists and events come in. Pure.

Resource versions are numbers that grow (API conventions, KEP-5504), so the newer of two is never in doubt: neither a
late event nor a list that was overtaken by the watch brings back what is gone, or takes away what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import msgspec

__all__ = ["MAX_OBJECTS", "Change", "Store"]

MAX_OBJECTS = 500_000
"""Ten times what a large cluster has of one kind: a bound, not a plan."""

T = TypeVar("T")


class Change(msgspec.Struct, Generic[T], frozen=True):
    """One object is there, is another, or is gone. The key is "namespace/name"."""

    key: str
    before: T | None
    after: T | None


class Store(Generic[T]):
    """Takes events and lists; gives the change that each makes, None for none."""

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
        """A watch says that the object is this."""
        return None if version <= self._whole_at else self.put_listed(key, version, value)

    def delete(self, key: str, version: int) -> Change[T] | None:
        """A watch says that the object is gone, or is not asked for any more."""
        if version <= self._whole_at:
            return None
        if self._listings:
            self._deleted[key] = version
        return self._remove(key, version)

    # -- lists ----------------------------------------------------------------------------------------------------

    @contextmanager
    def listing(self) -> Iterator[None]:
        """While a list is asked for and put in, deletions are remembered: it may have been taken before them."""
        self._listings += 1
        try:
            yield
        finally:
            self._listings -= 1
            if not self._listings:
                self._deleted.clear()

    def put_listed(self, key: str, version: int, value: T) -> Change[T] | None:
        """A list says that the object is this."""
        if self._deleted.get(key, -1) > version:
            return None
        kept = self._kept.get(key)
        if kept is not None and kept[0] > version:
            return None
        if kept is None and len(self._kept) >= MAX_OBJECTS:
            raise OverflowError(f"more than {MAX_OBJECTS} objects")
        before = None if kept is None else kept[1]
        if before == value:
            self._kept[key] = (version, before)  # the one that others may hold already
            return None
        self._kept[key] = (version, value)
        return Change(key, before, value)

    def whole(self, version: int) -> None:
        """A list of everything at this version is being put in: older events have nothing to add."""
        self._whole_at = version

    def unlisted(self, seen: Callable[[str], bool]) -> list[str]:
        """The keys that a list of everything did not name."""
        return [key for key in self._kept if not seen(key)]

    def drop_unlisted(self, key: str, version: int) -> Change[T] | None:
        """A list of everything at this version did not name the object."""
        return self._remove(key, version)

    def forget_versions(self) -> None:
        """The server's history has begun anew, as after a restore: whatever comes now is newer."""
        self._kept = {key: (0, value) for key, (_, value) in self._kept.items()}
        self._whole_at = 0
        self._deleted.clear()

    # -- both -----------------------------------------------------------------------------------------------------

    def discard(self, key: str) -> None:
        """Keep no longer what nobody asks for. No change is told."""
        self._kept.pop(key, None)

    def _remove(self, key: str, version: int) -> Change[T] | None:
        kept = self._kept.get(key)
        if kept is None or kept[0] > version:
            return None
        del self._kept[key]
        return Change(key, kept[1], None)
