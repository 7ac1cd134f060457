"""The interceptors that exist, ready or not: the pods to which a routing table must propagate.

From the EndpointSlices of their headless Service, which also contain pods that are not ready; or from another source of members,
which are assumed to be ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from controller.propagation import Interceptor
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import ListWatch, Timing
from fleet.discovery.kubernetes.objects import ENDPOINT_SLICES, SERVICE_NAME_LABEL, EndpointSlice, parse_endpoint_slice
from fleet.discovery.sources import Member, MemberSource
from fleet.runtime.address import join_address

__all__ = ["InterceptorSource", "ListedInterceptors", "ServiceInterceptors", "interceptors_of"]


class InterceptorSource(Protocol):
    """The interceptors that should serve the table."""

    @property
    def current(self) -> tuple[Interceptor, ...] | None:
        """None before they are known."""

    def subscribe(self, on_change: Callable[[], None]) -> None: ...

    async def known(self) -> None:
        """Wait until `current` is known, if its first value is not reported to subscribers."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class ServiceInterceptors:
    """The pods behind a Service, at the named port."""

    def __init__(self, api: Api, namespace: str, service: str, port: str, *, timing: Timing | None = None) -> None:
        self._port = port
        labels = f"{SERVICE_NAME_LABEL}={service}"
        self._slices = ListWatch(
            api, ENDPOINT_SLICES, parse_endpoint_slice, namespaces=(namespace,), labels=labels, timing=timing
        )

    @property
    def current(self) -> tuple[Interceptor, ...] | None:
        if not self._slices.synced.is_set():
            return None
        return interceptors_of((one for _, one in self._slices.items()), self._port)

    def subscribe(self, on_change: Callable[[], None]) -> None:
        self._slices.subscribe(lambda _: on_change())

    async def known(self) -> None:
        await self._slices.synced.wait()

    async def start(self) -> None:
        self._slices.start()
        await self._slices.tried()

    async def close(self) -> None:
        await self._slices.close()


class ListedInterceptors:
    """The members of another source."""

    def __init__(self, members: MemberSource) -> None:
        self._members = members

    @property
    def current(self) -> tuple[Interceptor, ...] | None:
        members = self._members.current
        return None if members is None else tuple(map(_ready, members))

    def subscribe(self, on_change: Callable[[], None]) -> None:
        self._members.subscribe(lambda _: on_change())

    async def known(self) -> None:
        """Does nothing: the first read of members is reported as a change."""

    async def start(self) -> None:
        await self._members.start()

    async def close(self) -> None:
        await self._members.close()


def interceptors_of(slices: Iterable[EndpointSlice], port: str) -> tuple[Interceptor, ...]:
    """Sorted by name. For a pod with two addresses, the IPv4 address is used. Terminating pods are left out, because they need
    no new table."""
    found: dict[str, Interceptor] = {}
    for one in sorted(slices, key=lambda one: one.ipv6):
        number = next((candidate.port for candidate in one.ports if candidate.name == port), None)
        if number is None:
            continue
        for endpoint in one.endpoints:
            if not endpoint.terminating:
                address = join_address(endpoint.address, number)
                name = endpoint.pod or address
                found.setdefault(name, Interceptor(name, address, endpoint.ready))
    return tuple(found[name] for name in sorted(found))


def _ready(member: Member) -> Interceptor:
    return Interceptor(member.name, member.address, ready=True)
