"""The routing table from a ConfigMap: watched, read again regularly, and joined from shards if it is large.

When the table is invalid, incomplete or deleted, the last good one is kept, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import CONFIG_MAPS, ConfigMap, parse_config_map
from fleet.discovery.kubernetes.tableformat import Index, index_of, table_of, whole
from fleet.discovery.sources import SourceError, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.routing.table import RoutingTable
from fleet.runtime.pauses import Pauses
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["KubernetesRoutes"]

SHARDS_AT_ONCE: Final = 8

_log = logging.getLogger(__name__)


class KubernetesRoutes:
    """A RouteSource: the table in the ConfigMap `name` of a namespace, in the format of tableformat.

    Only this ConfigMap is watched. Shards never change under their names, and are fetched when an index names them.
    """

    def __init__(self, api: Api, namespace: str, name: str, *, timing: Timing | None = None) -> None:
        self._api = api
        self._namespace = namespace
        self._key = f"{namespace}/{name}"
        self._table: RoutingTable | None = None
        self._subscribers = Subscribers[RoutingTable]()
        timing = timing or Timing()
        self._maps = ListWatch(
            api, CONFIG_MAPS, parse_config_map, namespaces=(namespace,), fields=f"metadata.name={name}", timing=timing
        )
        self._maps.subscribe(self._on_change)
        self._pauses = Pauses(timing.first_pause, timing.longest_pause)
        self._reading = asyncio.Lock()
        self._read: ConfigMap | None = None
        self._changed = asyncio.Event()
        self._complaint = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def current(self) -> RoutingTable | None:
        return self._table

    def subscribe(self, on_change: Callable[[RoutingTable], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    async def start(self) -> None:
        """Read once and keep watching. A failed first read is logged and repeated."""
        self._maps.start()
        await self._maps.tried()
        await self._try_read()
        self._task = asyncio.create_task(self._follow(), name=f"configmap {self._key}")

    async def refresh(self) -> None:
        """Read now, independent of the watch. Raises SourceError."""
        await self._maps.relist()
        await self._take()

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)
        await self._maps.close()
        await self._api.close()

    def _on_change(self, change: Change[ConfigMap]) -> None:
        self._changed.set()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self._try_read():
                self._pauses.reset()
            else:
                await asyncio.sleep(self._pauses.next())
                self._changed.set()

    async def _try_read(self) -> bool:
        """Read the table. Returns whether nothing has to be retried until the next change."""
        try:
            await self._take()
        except ApiError as error:
            self._complain(str(error))
            return False
        except SourceError as error:
            self._complain(str(error))
        return True

    async def _take(self) -> None:
        """Decode the current ConfigMap and serve its table. Raises SourceError."""
        async with self._reading:
            found = self._maps.get(self._key)
            if found is None:
                raise SourceError(f"configmap {self._key}: there is none")
            if found is not self._read:
                table = await self._table_in(found)
                self._read = found
                self._serve(table)
            self._complaint = ""

    async def _table_in(self, found: ConfigMap) -> RoutingTable:
        try:
            # Decoded on a thread, because a large table would block the event loop.
            table = await asyncio.to_thread(table_of, found.data)
            if table is not None:
                return table
            index = index_of(found.data)
            if self._table is not None and self._table.version == index.version:
                return self._table
            return await asyncio.to_thread(whole, index, await self._shards(index))
        except ValueError as error:
            raise SourceError(f"configmap {self._key}: {' '.join(str(error).split())}") from error

    async def _shards(self, index: Index) -> dict[str, Mapping[str, str]]:
        """Raises ApiError. A missing shard may belong to a version that was just replaced; the next index follows."""
        shards: dict[str, Mapping[str, str]] = {}
        for start in range(0, len(index.shards), SHARDS_AT_ONCE):
            names = index.shards[start : start + SHARDS_AT_ONCE]
            found = await asyncio.gather(*(self._api.get(CONFIG_MAPS.path(self._namespace, name)) for name in names))
            shards.update(zip(names, (parse_config_map(data).binary_data for data in found), strict=True))
        return shards

    def _serve(self, table: RoutingTable) -> None:
        if self._table is None or table.version != self._table.version:
            self._table = table
            self._subscribers.tell(table)

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            _log.warning("%s; %s", complaint, "nothing is served yet" if self._table is None else "the last good one stays")
        self._complaint = complaint
