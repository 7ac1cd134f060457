"""The backends of targets outside of discovery: the addresses of DNS names, looked up again as their TTL says, and fixed lists.

Only names that routes name are looked up, never for a request, and never more of them at once than there are places.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Collection
from typing import Final

from fleet.discovery.outside.lookup import Failed, Resolver
from fleet.discovery.outside.names import REFUSED, Names, Ttl
from fleet.discovery.outside.policy import AddressPolicy
from fleet.discovery.sources import Backend, Trouble, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.routing.outside import OutsideKey, outside_key
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["FIRST_SECONDS", "OutsideBackends"]

FIRST_SECONDS: Final = 10.0
"""After so long an interceptor is ready although names have not been looked up yet: other targets must not wait for them."""

_log = logging.getLogger(__name__)


class OutsideBackends:
    """A BackendSource of keys as `fleet.routing.outside` makes them."""

    def __init__(self, resolver: Resolver, policy: AddressPolicy, ttl: Ttl, *, clock: Callable[[], float]) -> None:
        self._resolver, self._policy, self._clock = resolver, policy, clock
        self._names = Names(policy, ttl)
        self._keys: dict[str, OutsideKey] = {}
        self._by_name: dict[str, list[str]] = {}
        self._backends: dict[str, tuple[Backend, ...]] = {}
        self._subscribers = Subscribers[str]()
        self._news = asyncio.Event()
        self._lookups: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._first_until: float | None = None

    def get(self, key: str) -> tuple[Backend, ...]:
        return self._backends.get(key, ())

    def trouble(self, key: str) -> Trouble | None:
        known = self._keys.get(key)
        if known is None:
            return None
        if self._policy.is_off or (known.places and not self._backends.get(key)):
            return REFUSED
        return self._names.trouble(known.name) if known.name else None

    def note(self, app: str) -> str:
        """Always ""."""
        return ""

    def missing(self, key: str) -> None:
        """Always None: what is wrong with a target is its trouble, which the controller hears of."""

    def alias(self, key: str) -> None:
        """Always None: these are no Services."""

    @property
    def synced(self) -> bool:
        """Whether each name was looked up once, or there was time enough for that."""
        waited = self._first_until is not None and self._clock() >= self._first_until
        return waited or self._policy.is_off or not self._names.untried

    def subscribe(self, on_change: Callable[[str], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    def want(self, keys: Collection[str]) -> None:
        """Follow these targets and no others. The subscribers are told of those of which something is known at once."""
        before = self._keys
        wanted = {key: self._keys.get(key) or outside_key(key) for key in sorted(keys)}
        self._keys = {key: known for key, known in wanted.items() if known is not None}
        self._by_name = {}
        for key, known in self._keys.items():
            if known.name:
                self._by_name.setdefault(known.name, []).append(key)
        self._names.want(() if self._policy.is_off else self._by_name, self._clock())
        self._backends = {key: found for key, known in self._keys.items() if (found := self._found(known))}
        if self._first_until is None and self._by_name:
            self._first_until = self._clock() + FIRST_SECONDS
        self._news.set()
        for key in self._keys.keys() - before.keys():
            if key in self._backends or self.trouble(key) is not None:
                self._subscribers.tell(key)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="look up names")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task, *self._lookups)

    async def _follow(self) -> None:
        while True:
            self._news.clear()
            for name, lane in self._names.take(self._clock()):
                task = asyncio.create_task(self._look_up(name, lane), name=f"look up {name}")
                self._lookups.add(task)
                task.add_done_callback(self._lookups.discard)
            due = self._names.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                    await self._news.wait()
            except TimeoutError:
                """The next one is due."""

    async def _look_up(self, name: str, lane: str) -> None:
        try:
            result = await self._resolver(name)
        except Exception:  # noqa: BLE001  # its place must become free, or in the end no name is looked up any more
            _log.exception("the look-up of %s failed", name)
            result = Failed("the look-up failed, see the interceptor's log")
        if self._names.answered(name, lane, result, self._clock()):
            for key in self._by_name.get(name, ()):
                self._refresh(key)
        self._news.set()

    def _refresh(self, key: str) -> None:
        found = self._found(self._keys[key])
        self._backends.pop(key, None)
        if found:
            self._backends[key] = found
        self._subscribers.tell(key)

    def _found(self, known: OutsideKey) -> tuple[Backend, ...]:
        if self._policy.is_off:
            return ()
        places = known.places or tuple((address, known.port) for address in self._names.addresses(known.name))
        if known.places:
            places = tuple(place for place in dict.fromkeys(places) if self._policy.allows(place[0]))
        return tuple(Backend(_shortest(address), port, outside=True) for address, port in places)


def _shortest(address: str) -> str:
    """A mapped address as the IPv4 address that it is."""
    mapped = ipaddress.IPv6Address(address).ipv4_mapped if ":" in address else None
    return address if mapped is None else str(mapped)
