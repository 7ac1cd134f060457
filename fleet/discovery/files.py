"""Discovery from files: sources that follow a JSON or YAML file (by its suffix), and writers of these files.

When a file is missing or invalid, the last good value is kept and the log says so once. Writers replace a file by rename, so a
reader never sees a partial file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from fleet.defaults import RESYNC_OF_FILES_SECONDS
from fleet.discovery.documents import Targets, decode_members, decode_targets, encode_backends, encode_members, is_yaml
from fleet.discovery.sources import Backend, Member, SourceError, Trouble, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.routing import codec
from fleet.routing.table import RoutingTable
from fleet.runtime.files import read_regular
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.watch import FileWatch

__all__ = [
    "MAX_FILE_BYTES",
    "FileBackends",
    "FileMembers",
    "FileRoutes",
    "FollowedFile",
    "replace_file",
    "write_backends",
    "write_members",
    "write_routes",
]

MAX_FILE_BYTES: Final = 64 << 20
"""Maximum file size; ten thousand routes take a few MB."""
PARSE_ASIDE_BYTES: Final = 32 << 10
"""Files larger than this are parsed on a thread, because parsing would block the event loop."""

T = TypeVar("T")
Decode = Callable[[bytes], T]

_log = logging.getLogger(__name__)


class FollowedFile(Generic[T]):
    """The last good value of a file. Reads are serialized, so that an older read never replaces a newer one."""

    def __init__(self, path: Path, decode: Decode[T], on_value: Callable[[T], None], resync: float) -> None:
        self._path = path
        self._decode = decode
        self._on_value = on_value
        self._resync = resync
        self._reading = asyncio.Lock()
        self._good: bytes | None = None
        self._complaint: str | None = None
        self._watch: FileWatch | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # Watch before the first read, so that no change in between is lost.
        self._watch = FileWatch([self._path])
        self._watch.start()
        await self._try_read()
        self._task = asyncio.create_task(self._follow(self._watch), name=f"file:{self._path.name}")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.close()

    async def read(self) -> None:
        """Read now. Raises SourceError."""
        async with self._reading:
            data = _content(self._path)
            if data != self._good:
                value = await self._decoded(data)
                self._good = data
                self._on_value(value)
            self._complaint = None

    async def _follow(self, watch: FileWatch) -> None:
        while True:
            await watch.wait(self._resync)
            await self._try_read()

    async def _try_read(self) -> None:
        try:
            await self.read()
        except SourceError as error:
            if str(error) != self._complaint:
                _log.warning("%s; %s", error, "nothing is served yet" if self._good is None else "the last good one stays")
            self._complaint = str(error)

    async def _decoded(self, data: bytes) -> T:
        try:
            if len(data) <= PARSE_ASIDE_BYTES:
                return self._decode(data)
            return await asyncio.to_thread(self._decode, data)
        except ValueError as error:
            raise SourceError(f"{self._path}: {' '.join(str(error).split())}") from error


class _FileSource:
    """Start and close, delegated to the file."""

    _file: FollowedFile[Any]

    async def start(self) -> None:
        await self._file.start()

    async def close(self) -> None:
        await self._file.close()


class FileRoutes(_FileSource):
    """A RouteSource: the routing table in a file, in the format of fleet.routing.codec."""

    def __init__(self, path: str | Path, resync: float = RESYNC_OF_FILES_SECONDS) -> None:
        self._table: RoutingTable | None = None
        self._subscribers = Subscribers[RoutingTable]()
        decode = codec.decode_yaml if is_yaml(Path(path)) else codec.decode_json
        self._file = FollowedFile(Path(path), decode, self._on_table, resync)

    @property
    def current(self) -> RoutingTable | None:
        return self._table

    def subscribe(self, on_change: Callable[[RoutingTable], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    async def refresh(self) -> None:
        await self._file.read()

    def _on_table(self, table: RoutingTable) -> None:
        if self._table is None or table.version != self._table.version:
            self._table = table
            self._subscribers.tell(table)


class FileBackends(_FileSource):
    """A BackendSource: the file described at fleet.discovery.documents.decode_targets."""

    def __init__(self, path: str | Path, resync: float = RESYNC_OF_FILES_SECONDS) -> None:
        self._targets = Targets({}, {}, {})
        self._subscribers = Subscribers[str]()
        decode = partial(decode_targets, from_yaml=is_yaml(Path(path)))
        self._file = FollowedFile(Path(path), decode, self._on_targets, resync)

    def get(self, key: str) -> tuple[Backend, ...]:
        return self._targets.backends.get(key, ())

    def trouble(self, key: str) -> Trouble | None:
        return self._targets.troubles.get(key)

    def note(self, app: str) -> str:
        return self._targets.notes.get(app, "")

    def missing(self, key: str) -> None:
        """Always None: the file may list the target later."""

    def alias(self, key: str) -> None:
        """Always None: there are no Services here."""

    @property
    def synced(self) -> bool:
        return True  # a file that does not exist yet counts as one without backends

    def want(self, keys: Collection[str]) -> None:
        """Does nothing: the file always has all targets."""

    def subscribe(self, on_change: Callable[[str], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    def _on_targets(self, targets: Targets) -> None:
        before, self._targets = self._targets, targets
        keys = {key for each in (before, targets) for mapping in (each.backends, each.troubles) for key in mapping}
        for key in sorted(keys):
            backends_changed = before.backends.get(key, ()) != targets.backends.get(key, ())
            if backends_changed or before.troubles.get(key) != targets.troubles.get(key):
                self._subscribers.tell(key)


class FileMembers(_FileSource):
    """A MemberSource: the file described at fleet.discovery.documents.decode_members."""

    def __init__(self, path: str | Path, resync: float = RESYNC_OF_FILES_SECONDS) -> None:
        self._members: tuple[Member, ...] | None = None
        self._subscribers = Subscribers[tuple[Member, ...]]()
        decode = partial(decode_members, from_yaml=is_yaml(Path(path)))
        self._file = FollowedFile(Path(path), decode, self._on_members, resync)

    @property
    def current(self) -> tuple[Member, ...] | None:
        return self._members

    def subscribe(self, on_change: Callable[[tuple[Member, ...]], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    def _on_members(self, members: tuple[Member, ...]) -> None:
        if members != self._members:
            self._members = members
            self._subscribers.tell(members)


def write_routes(path: str | Path, table: RoutingTable) -> bool:
    """Replace the file by the table. Returns False, and writes nothing, when the content is the same."""
    return replace_file(Path(path), codec.encode_json(table))


def write_backends(
    path: str | Path,
    backends: Mapping[str, Iterable[Backend]],
    troubles: Mapping[str, Trouble] = MappingProxyType({}),
    notes: Mapping[str, str] = MappingProxyType({}),
) -> bool:
    """Replace the file by the mappings. Returns False, and writes nothing, when the content is the same."""
    return replace_file(Path(path), encode_backends(backends, troubles, notes))


def write_members(path: str | Path, members: Iterable[Member]) -> bool:
    """Replace the file by the list. Returns False, and writes nothing, when the content is the same."""
    return replace_file(Path(path), encode_members(members))


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error


def replace_file(path: Path, data: bytes) -> bool:
    try:
        if path.exists() and path.read_bytes() == data:
            return False
        fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    return True
