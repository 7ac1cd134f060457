"""Where the routing table is stored for interceptors and scalers: ConfigMaps, or a file.

A store writes only differences from its content; changes by others are corrected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from fleet.discovery.files import MAX_FILE_BYTES, write_routes
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import CONFIG_MAPS, ConfigMap, Head, parse_config_map
from fleet.discovery.kubernetes.tableformat import Document, documents, index_of, table_of, whole
from fleet.discovery.sources import SourceError
from fleet.routing.codec import decode_json
from fleet.routing.table import RoutingTable
from fleet.runtime.files import read_regular

__all__ = ["FIELD_MANAGER", "ConfigMapStore", "FileStore", "TableStore"]

FIELD_MANAGER = "weir-controller"
SHARD_OF = "weir.http.keda.sh/shard-of"
"""Label of shards, by which shards of older tables are found and removed."""
KEPT_TABLES = 2
"""The current table and the one before, because a reader may be in the middle of reading it."""

_log = logging.getLogger(__name__)


class TableStore(Protocol):
    """Stores one routing table."""

    def subscribe(self, on_change: Callable[[], None]) -> None:
        """Call on_change when somebody else may have changed the content."""

    async def start(self) -> None: ...

    async def read(self) -> RoutingTable | None:
        """The stored table; None when there is none or it is not known. Raises SourceError."""

    async def write(self, table: RoutingTable) -> bool:
        """Store this table; returns whether anything had to be written. Raises SourceError."""

    async def close(self) -> None: ...


class FileStore:
    """A file that is replaced by a rename."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def subscribe(self, on_change: Callable[[], None]) -> None:
        """Does nothing: nobody else writes the file."""

    async def start(self) -> None:
        """Nothing to do."""

    async def read(self) -> RoutingTable | None:
        return await asyncio.to_thread(self._read)

    async def write(self, table: RoutingTable) -> bool:
        return await asyncio.to_thread(write_routes, self._path, table)

    async def close(self) -> None:
        """Nothing to do."""

    def _read(self) -> RoutingTable | None:
        try:
            return decode_json(read_regular(self._path, MAX_FILE_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SourceError(f"{self._path}: {error}") from error


class _Heads(msgspec.Struct, frozen=True):
    items: tuple[_Item, ...] = ()


class _Item(msgspec.Struct, frozen=True):
    metadata: Head


class _Shards(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


class ConfigMapStore:
    """A ConfigMap of the given name, with shards for a large table; written with server-side apply."""

    def __init__(self, api: Api, namespace: str, name: str, *, timing: Timing | None = None) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._tables: list[tuple[str, ...]] = []
        self._maps = ListWatch(
            api, CONFIG_MAPS, parse_config_map, namespaces=(namespace,), fields=f"metadata.name={name}", timing=timing
        )
        self._held: ConfigMap | None = None
        self._maps.subscribe(self._on_event)
        self._on_change: Callable[[], None] = lambda: None

    def subscribe(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    async def start(self) -> None:
        """When it returns, the stored content is known, unless the API server could not be reached."""
        self._maps.start()
        await self._maps.tried()

    async def close(self) -> None:
        await self._maps.close()

    async def read(self) -> RoutingTable | None:
        held = self._held
        if held is None:
            return None
        try:
            table = await asyncio.to_thread(table_of, held.data)
            if table is not None:
                return table
            return await asyncio.to_thread(whole, index_of(held.data), await self._shards())
        except ValueError as error:
            raise SourceError(f"configmap {self._namespace}/{self._name}: {error}") from error

    async def write(self, table: RoutingTable) -> bool:
        *shards, main = await asyncio.to_thread(documents, self._name, table)
        if self._held is not None and _content(main) == self._held:
            return False
        for shard in shards:
            await self._apply(shard, {SHARD_OF: self._name})
        await self._apply(main, {})
        self._held = _content(main)
        await self._remove_shards(tuple(shard.name for shard in shards))
        return True

    def _on_event(self, change: Change[ConfigMap]) -> None:
        if change.after != self._held:
            self._held = change.after
            self._on_change()

    async def _apply(self, document: Document, labels: Mapping[str, str]) -> None:
        body: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": document.name,
                "namespace": self._namespace,
                "labels": {"app.kubernetes.io/part-of": "weir", **labels},
            },
        }
        if document.data:
            body["data"] = dict(document.data)
        if document.binary_data:
            body["binaryData"] = dict(document.binary_data)
        await self._api.request(
            "PATCH",
            CONFIG_MAPS.path(self._namespace, document.name),
            query=[("fieldManager", FIELD_MANAGER), ("force", "true")],
            body=body,
            content_type="application/apply-patch+yaml",
        )

    async def _shards(self) -> dict[str, Mapping[str, str]]:
        """Binary data by name, of all tables."""
        listed = await self._api.get(CONFIG_MAPS.path(self._namespace), [("labelSelector", f"{SHARD_OF}={self._name}")])
        raw = msgspec.json.decode(listed, type=_Shards).items
        names = [item.metadata.name for item in msgspec.json.decode(listed, type=_Heads).items]
        return {name: parse_config_map(data).binary_data for name, data in zip(names, raw, strict=True)}

    async def _remove_shards(self, written: tuple[str, ...]) -> None:
        """Remove shards of tables before the last one. After a failure, the next write tries again."""
        sharded_before = any(self._tables)
        first = not self._tables
        self._tables = [*self._tables, written][-KEPT_TABLES:]
        if not (first or written or sharded_before):
            return
        kept = {name for table in self._tables for name in table}
        try:
            listed = await self._api.get(CONFIG_MAPS.path(self._namespace), [("labelSelector", f"{SHARD_OF}={self._name}")])
            for item in msgspec.json.decode(listed, type=_Heads).items:
                # At the first write it is not known which table was current before.
                if item.metadata.name not in kept and not first:
                    await self._api.request("DELETE", CONFIG_MAPS.path(self._namespace, item.metadata.name))
        except ApiError as error:
            _log.warning("old shards of the routing table stay for now: %s", error)


def _content(document: Document) -> ConfigMap:
    return ConfigMap(dict(document.data), dict(document.binary_data))
