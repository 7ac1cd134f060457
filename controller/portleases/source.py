"""What is known of leases and entries, from watches. Every controller follows them, also one that does not lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.leader import LEASES
from controller.portleases.entry import Entry, parse_entry
from controller.portleases.lease import LABEL, PortLease, parse_lease
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import SERVICES
from fleet.routing.port_index import PortKey

__all__ = ["PortSource"]


class PortSource:
    """`namespace` is Weir's own, where leases and entries are; `selector` the labels of entries."""

    def __init__(self, api: Api, namespace: str, selector: str, *, timing: Timing) -> None:
        self._leases: ListWatch[PortLease] = ListWatch(
            api, LEASES, parse_lease, namespaces=(namespace,), labels=LABEL, timing=timing
        )
        self._entries: ListWatch[Entry] = ListWatch(
            api, SERVICES, parse_entry, namespaces=(namespace,), labels=selector, timing=timing
        )

    @property
    def is_known(self) -> bool:
        return self._leases.synced.is_set() and self._entries.synced.is_set()

    @property
    def leases(self) -> Mapping[PortKey, PortLease]:
        return {lease.port: lease for _, lease in self._leases.items()}

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By "namespace/name", sorted."""
        return dict(sorted(self._entries.items()))

    def subscribe(
        self, on_lease: Callable[[PortLease | None, PortLease | None], None], on_entry: Callable[[], None]
    ) -> Callable[[], None]:
        """`on_lease` gets a lease before and after a change."""

        def changed(change: Change[PortLease]) -> None:
            on_lease(change.before, change.after)

        stops = (self._leases.subscribe(changed), self._entries.subscribe(lambda _: on_entry()))

        def unsubscribe() -> None:
            for stop in stops:
                stop()

        return unsubscribe

    async def known(self) -> None:
        """Wait until both were read: a table made before would give away ports that are somebody's."""
        await self._leases.synced.wait()
        await self._entries.synced.wait()

    def start(self) -> None:
        self._leases.start()
        self._entries.start()

    async def close(self) -> None:
        await self._leases.close()
        await self._entries.close()
