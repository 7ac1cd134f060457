"""Two sources of backends as one: that of Services, and that of what is outside of discovery, to which Services may lead."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from fleet.discovery.outside.backends import OutsideBackends
from fleet.discovery.sources import Alias, Backend, BackendSource, Trouble, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.routing.outside import is_outside

__all__ = ["WithOutside"]


class WithOutside:
    """A BackendSource: keys of targets outside of discovery, and those of Services of type ExternalName, are answered by
    `outside`, all others by `services`."""

    def __init__(self, services: BackendSource, outside: OutsideBackends) -> None:
        self._services, self._outside = services, outside
        self._wanted: frozenset[str] = frozenset()
        self._aliases: dict[str, Alias] = {}
        self._led: dict[str, set[str]] = {}
        """Keys of Services by the key that they lead to."""
        self._subscribers = Subscribers[str]()
        services.subscribe(self._on_service)
        outside.subscribe(self._on_outside)

    def get(self, key: str) -> tuple[Backend, ...]:
        alias = self._aliases.get(key)
        if alias is None:
            return self._of(key).get(key)
        found = self._outside.get(alias.key)
        if alias.app_protocol is None:
            return found
        return tuple(msgspec.structs.replace(backend, app_protocol=alias.app_protocol) for backend in found)

    def trouble(self, key: str) -> Trouble | None:
        alias = self._aliases.get(key)
        return self._of(key).trouble(key) if alias is None else self._outside.trouble(alias.key)

    def note(self, app: str) -> str:
        return self._services.note(app)

    def missing(self, key: str) -> tuple[str, str] | None:
        alias = self._aliases.get(key)
        return None if alias is not None or is_outside(key) else self._services.missing(key)

    def alias(self, key: str) -> Alias | None:
        return self._aliases.get(key)

    @property
    def synced(self) -> bool:
        return self._services.synced and self._outside.synced

    def want(self, keys: Collection[str]) -> None:
        self._wanted = frozenset(keys)
        self._services.want([key for key in keys if not is_outside(key)])
        found = {key: self._services.alias(key) for key in self._wanted if not is_outside(key)}
        self._aliases = {key: alias for key, alias in found.items() if alias is not None}
        self._want_outside()

    def subscribe(self, on_change: Callable[[str], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    async def start(self) -> None:
        await self._services.start()
        await self._outside.start()

    async def close(self) -> None:
        try:
            await self._outside.close()
        finally:
            await self._services.close()

    def _of(self, key: str) -> BackendSource:
        return self._outside if is_outside(key) else self._services

    def _want_outside(self) -> None:
        self._led = {}
        for key, alias in self._aliases.items():
            self._led.setdefault(alias.key, set()).add(key)
        self._outside.want([*(key for key in self._wanted if is_outside(key)), *self._led])

    def _on_service(self, key: str) -> None:
        alias = self._services.alias(key)
        if alias != self._aliases.get(key) and key in self._wanted:
            self._aliases.pop(key, None)
            if alias is not None:
                self._aliases[key] = alias
            self._want_outside()
        self._subscribers.tell(key)

    def _on_outside(self, key: str) -> None:
        if key in self._wanted:
            self._subscribers.tell(key)
        for led in tuple(self._led.get(key, ())):
            self._subscribers.tell(led)
