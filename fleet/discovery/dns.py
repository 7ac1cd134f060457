"""Members from a DNS name: each of its addresses is a member, as for a headless Service.

DNS does not notify of changes, so the name is resolved at an interval. If it cannot be resolved or has no addresses, the last
members are kept, and the log says so once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from fleet.defaults import MAX_MEMBERS
from fleet.discovery.sources import Member, SourceError, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.runtime.address import AddressError, join_address, split_address
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["INTERVAL_SECONDS", "DnsMembers", "Resolver"]

INTERVAL_SECONDS: Final = 2.0
"""Seconds between two queries: short enough to find a new member within seconds, and not too often for a nearby name server."""
TIMEOUT_SECONDS: Final = 5.0

Resolver = Callable[[str, int], Awaitable[Iterable[str]]]
"""Returns the IP addresses of a name. Raises OSError."""

_log = logging.getLogger(__name__)


async def _system_addresses(name: str, port: int) -> list[str]:
    """A and AAAA records, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class DnsMembers:
    """A MemberSource: the addresses of "name:port"."""

    def __init__(self, address: str, interval: float = INTERVAL_SECONDS, *, resolver: Resolver = _system_addresses) -> None:
        try:
            self._name, self._port = split_address(address)
        except AddressError as error:
            raise SourceError(f"dns: {error}") from error
        self._interval = interval
        self._resolver = resolver
        self._members: tuple[Member, ...] | None = None
        self._complaint: str | None = None
        self._subscribers = Subscribers[tuple[Member, ...]]()
        self._task: asyncio.Task[None] | None = None

    @property
    def current(self) -> tuple[Member, ...] | None:
        return self._members

    def subscribe(self, on_change: Callable[[tuple[Member, ...]], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    async def start(self) -> None:
        await self.resolve()
        self._task = asyncio.create_task(self._follow(), name=f"dns:{self._name}")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def resolve(self) -> None:
        """Resolve now. A failure is logged, and the last members are kept."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                addresses = sorted(set(await self._resolver(self._name, self._port)))
        except TimeoutError:
            self._complain(f"no answer in {TIMEOUT_SECONDS:g} s")
        except OSError as error:
            self._complain(error.strerror or str(error))
        else:
            self._on_addresses(addresses)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.resolve()

    def _on_addresses(self, addresses: list[str]) -> None:
        if not addresses:
            self._complain("no addresses")
            return
        self._complaint = None
        named = [join_address(address, self._port) for address in addresses[:MAX_MEMBERS]]
        members = tuple(Member(name=name, address=name) for name in named)
        if members != self._members:
            self._members = members
            self._subscribers.tell(members)

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            _log.warning("members of %s: %s; the last ones known stay", self._name, why)
        self._complaint = why
