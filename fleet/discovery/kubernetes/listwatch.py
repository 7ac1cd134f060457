"""List-and-watch: the objects of a kind, in one namespace, several, or all, kept up to date.

Everything that follows Kubernetes objects uses this. When the server is unreachable, loses its history or goes silent, no object
disappears: see fleet.discovery.kubernetes.reflector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Final, Generic, TypeVar

from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.objects import Head, Resource
from fleet.discovery.kubernetes.reflector import Parse, Reflector, Scope, Timing
from fleet.discovery.kubernetes.store import Change
from fleet.discovery.sources import Unsubscribe
from fleet.discovery.subscribers import Subscribers

__all__ = ["Change", "ListWatch", "Parse", "Timing"]

ALL_NAMESPACES: Final = ""

T = TypeVar("T")


class ListWatch(Generic[T]):
    """Objects by "namespace/name", each parsed once per version into a value that compares by content.

    Empty `namespaces` means all, with one watch; `labels` and `fields` are selectors; `keep` drops unwanted objects before they
    are parsed. Subscribers are called on the event loop's thread, in the order of the changes of each object.
    """

    def __init__(
        self,
        api: Api,
        resource: Resource,
        parse: Parse[T],
        *,
        namespaces: Collection[str] = (),
        labels: str = "",
        fields: str = "",
        keep: Callable[[Head], bool] | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._resource = resource
        self._subscribers = Subscribers[Change[T]]()
        self.synced = asyncio.Event()
        """Set when everything was listed once. Never cleared, because known objects are kept."""
        self._parts = {
            namespace: Reflector(
                api,
                Scope(resource.path(namespace), labels, fields),
                parse,
                tell=self._subscribers.tell,
                keep=keep,
                timing=timing or Timing(),
            )
            for namespace in dict.fromkeys(namespaces or (ALL_NAMESPACES,))
        }
        self._syncing: asyncio.Task[None] | None = None

    @property
    def absent(self) -> bool:
        """Whether the server does not know this kind: its definition is not installed."""
        return any(part.absent for part in self._parts.values())

    def __len__(self) -> int:
        return sum(len(part.store) for part in self._parts.values())

    def get(self, key: str) -> T | None:
        part = self._part(key.partition("/")[0])
        return None if part is None else part.store.get(key)

    def items(self) -> Iterator[tuple[str, T]]:
        """All objects. Nothing may change during the iteration."""
        for part in self._parts.values():
            yield from part.store.items()

    def covers(self, namespace: str) -> bool:
        """Whether objects of the namespace are followed."""
        return self._part(namespace) is not None

    def subscribe(self, on_change: Callable[[Change[T]], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    def start(self) -> None:
        """Start. Existing objects are reported to subscribers as changes."""
        for part in self._parts.values():
            part.start()
        self._syncing = asyncio.create_task(self._sync(), name=f"sync {self._resource.plural}")

    async def tried(self) -> None:
        """Wait until everything was listed once, successfully or not."""
        for part in self._parts.values():
            await part.tried.wait()

    async def relist(self) -> None:
        """List everything again, now. Raises ApiError; then the known objects stay."""
        await asyncio.gather(*(part.relist() for part in self._parts.values()))

    async def fetch(self, namespace: str, *, labels: str = "", fields: str = "") -> None:
        """Fetch some objects of a namespace, for example those that `keep` refused before. Raises ApiError."""
        part = self._part(namespace)
        if part is not None:
            await part.fetch(Scope(self._resource.path(namespace), labels, fields))

    def discard(self, key: str) -> None:
        """Drop an object that `keep` refuses now, without reporting a change."""
        part = self._part(key.partition("/")[0])
        if part is not None:
            part.store.discard(key)

    async def close(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.cancel()
            await asyncio.wait((syncing,))
        for part in self._parts.values():
            await part.close()

    def _part(self, namespace: str) -> Reflector[T] | None:
        return self._parts.get(namespace) or self._parts.get(ALL_NAMESPACES)

    async def _sync(self) -> None:
        for part in self._parts.values():
            await part.synced.wait()
        self.synced.set()
