"""The interceptors of the fleet, from the EndpointSlices of their headless Service.

A draining interceptor stays a member until its pod is gone: it still has requests, and readiness says nothing about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import (
    ENDPOINT_SLICES,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointSlice,
    parse_endpoint_slice,
)
from fleet.discovery.sources import Member, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.runtime.address import join_address

__all__ = ["KubernetesMembers", "members_of"]


class KubernetesMembers:
    """A MemberSource: the endpoints of a Service at the named port. A member's name is its pod's name."""

    def __init__(self, api: Api, namespace: str, service: str, port: str, *, timing: Timing | None = None) -> None:
        self._api = api
        self._port = port
        self._members: tuple[Member, ...] | None = None
        self._subscribers = Subscribers[tuple[Member, ...]]()
        self._slices = ListWatch(
            api,
            ENDPOINT_SLICES,
            parse_endpoint_slice,
            namespaces=(namespace,),
            labels=f"{SERVICE_NAME_LABEL}={service}",
            timing=timing,
        )
        self._slices.subscribe(self._on_change)

    @property
    def current(self) -> tuple[Member, ...] | None:
        if self._members is None and self._slices.synced.is_set():
            return ()
        return self._members

    def subscribe(self, on_change: Callable[[tuple[Member, ...]], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    async def start(self) -> None:
        """Read once and keep watching. A failed first read is logged and repeated."""
        self._slices.start()
        await self._slices.tried()

    async def close(self) -> None:
        await self._slices.close()
        await self._api.close()

    def _on_change(self, change: Change[EndpointSlice]) -> None:
        members = members_of((value for _, value in self._slices.items()), self._port)
        if members != self._members:
            self._members = members
            self._subscribers.tell(members)


def members_of(slices: Iterable[EndpointSlice], port: str) -> tuple[Member, ...]:
    """Sorted by name. For a pod with two addresses, the IPv4 address is used."""
    found: dict[str, str] = {}
    for one in sorted(slices, key=lambda one: one.ipv6):
        number = next((candidate.port for candidate in one.ports if candidate.name == port), None)
        if number is None:
            continue
        for endpoint in filter(_may_have_requests, one.endpoints):
            address = join_address(endpoint.address, number)
            found.setdefault(endpoint.pod or address, address)
    return tuple(Member(name, found[name]) for name in sorted(found))


def _may_have_requests(endpoint: Endpoint) -> bool:
    return endpoint.ready or endpoint.serving or endpoint.terminating
