"""Discovery of members by a DNS name: every address behind it is one, as with a headless Service.

DNS says nothing when it changes, so the name is asked again at an interval. A name that cannot be resolved, or has no
addresses, keeps the last members and is told in the log once: missing news is not zero.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable

from fleet.defaults import MAX_MEMBERS
from fleet.discovery.sources import Member, SourceError, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.runtime.address import AddressError, join_address, split_address
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["INTERVAL_SECONDS", "DnsMembers", "Resolver"]

INTERVAL_SECONDS = 2.0
"""A new member should be heard within a few seconds; a name server that is near can bear the question."""
TIMEOUT_SECONDS = 5.0

Resolver = Callable[[str, int], Awaitable[Iterable[str]]]
"""The IP addresses of a name. Raises OSError."""

_log = logging.getLogger(__name__)


async def _system_addresses(name: str, port: int) -> list[str]:
    """A and AAAA records, by the resolver of the system."""
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
        """Ask now. A failure is logged and keeps the last members."""
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
