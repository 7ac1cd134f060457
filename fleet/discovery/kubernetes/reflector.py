"""Follows the objects of one scope: lists and watches them, and lists again regularly, whatever errors the server returns.

Two tasks: one lists, at the start, when the watch has lost its position, and every `resync` seconds; one watches from the version
of the last list or event. A list does not stop the watch, so it delays no event; a list with changes that the watch missed shows
that the watch is broken, and restarts it. The store resolves the order by version. A failed request never removes objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

import msgspec

from fleet.defaults import RESYNC_SECONDS
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.lines import Lines
from fleet.discovery.kubernetes.objects import Head
from fleet.discovery.kubernetes.store import Change, Store
from fleet.discovery.kubernetes.wire import Event, EventError, decode_event, decode_page, head_of, number
from fleet.runtime.pauses import Pauses
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Parse", "Reflector", "Scope", "Timing"]

PAGE_OBJECTS: Final = 500
"""Objects per page of a list: client-go's default."""
SLICE: Final = 64
"""Objects processed before the event loop gets a turn: about a millisecond."""
NOT_FOUND: Final = 404
HEALTHY_SECONDS: Final = 5.0
"""A watch that lasted this long counts as successful, however it ended."""

T = TypeVar("T")
Parse = Callable[[msgspec.Raw], T]
"""Converts an object's JSON to the value that is kept. Raises ValueError."""

_log = logging.getLogger(__name__)


class Timing(msgspec.Struct, frozen=True):
    """All in seconds."""

    resync: float = RESYNC_SECONDS
    """Between full lists, each shortened randomly by up to a fifth, so that a fleet does not list at the same time."""
    first_pause: float = 0.1
    longest_pause: float = 5.0
    silence: float = 90.0
    """Longest silence of a watch. Servers send a bookmark about every minute."""
    watch: float = 300.0
    """Requested duration of a watch, randomly up to twice this, so that connections move between servers."""


class Scope(msgspec.Struct, frozen=True):
    """What to list and watch: a path, and selectors."""

    path: str
    labels: str = ""
    fields: str = ""

    def query(self) -> list[tuple[str, str]]:
        named = (("labelSelector", self.labels), ("fieldSelector", self.fields))
        return [(name, value) for name, value in named if value]


class _Listed(msgspec.Struct, Generic[T]):
    """A whole list, parsed. `values` has None for an object that exists but could not be parsed."""

    version: int
    values: dict[str, tuple[int, T | None]]


class Reflector(Generic[T]):
    """Follows a scope from `start` to `close`. `tell` is called with every change; `keep` says which objects are wanted."""

    def __init__(
        self,
        api: Api,
        scope: Scope,
        parse: Parse[T],
        *,
        tell: Callable[[Change[T]], None],
        keep: Callable[[Head], bool] | None = None,
        timing: Timing,
    ) -> None:
        self.store = Store[T]()
        self.tried = asyncio.Event()
        """Set when a list was attempted, successfully or not."""
        self.synced = asyncio.Event()
        """Set when a list was processed completely."""
        self.absent = False
        """Whether the server does not know this kind, by its answer to the last list."""
        self._api = api
        self._scope = scope
        self._parse = parse
        self._tell = tell
        self._keep = keep
        self._timing = timing
        self._list_pauses = Pauses(timing.first_pause, timing.longest_pause)
        self._watch_pauses = Pauses(timing.first_pause, timing.longest_pause)
        self._position = 0
        """Version up to which everything is known; a watch begins here."""
        self._placed = asyncio.Event()
        """Set while a watch can begin from the position."""
        self._list_now = asyncio.Event()
        self._asked: list[asyncio.Future[None]] = []
        self._answered: list[asyncio.Future[None]] = []
        """Callers waiting for the next list, and for the one under way."""
        self._session: asyncio.Task[None] | None = None
        self._list_trouble = _Trouble(f"list {scope.path}")
        self._watch_trouble = _Trouble(f"watch {scope.path}")
        self._misfits: dict[str, int] = {}
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        name = self._scope.path
        self._tasks = (
            asyncio.create_task(self._list_forever(), name=f"list {name}"),
            asyncio.create_task(self._watch_forever(), name=f"watch {name}"),
        )

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, ()
        await cancel_and_wait(*tasks)
        _settle([*self._answered, *self._asked], ApiError(f"{self._scope.path}: is not followed any more"))

    async def relist(self) -> None:
        """List again, now. Raises ApiError; then the known objects stay."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(done)
        self._list_now.set()
        await done

    async def fetch(self, part: Scope) -> None:
        """Fetch the objects of a part of the scope, for example those that were not wanted before. Raises ApiError."""
        with self.store.listing(), _understood(part.path):
            await self._put(await self._collect(part, PAGE_OBJECTS))

    # -- lists ----------------------------------------------------------------------------------------------------

    async def _list_forever(self) -> None:
        while True:
            asked, self._asked = self._asked, []
            self._answered = asked
            self._list_now.clear()
            try:
                await self._list()
            except ApiError as error:
                pause = self._list_pauses.next(error.retry_after)
                self.absent = error.status == NOT_FOUND
                self._list_trouble.tell(str(error))
                _settle(asked, error)
            except Exception as error:  # noqa: BLE001  # a bug; the next list may not reach it
                pause = self._list_pauses.next()
                _log.exception("%s: a list could not be taken", self._scope.path)
                _settle(asked, ApiError(f"{self._scope.path}: {error}"))
            else:
                pause = self._timing.resync * random.uniform(0.8, 1.0)  # noqa: S311 -- spreads load, hides nothing
                self._list_pauses.reset()
                self._list_trouble.over()
                self.absent = False
                _settle(asked, None)
            self.tried.set()
            await _set_within(self._list_now, pause)

    async def _list(self) -> None:
        known = self._position
        with self.store.listing(), _understood(self._scope.path):
            listed = await self._collect(self._scope, PAGE_OBJECTS)
            if listed.version < known:
                self._begin_history(listed.version)
            self.store.whole(listed.version)
            changes = await self._put(listed)
            changes += await self._drop_others(listed)
        self._position = max(self._position, listed.version)
        if changes and self._session is not None:
            _log.info("%s: a list told what the watch had not; watching anew", self._scope.path)
            self._session.cancel()
        self._placed.set()
        self.synced.set()

    def _begin_history(self, version: int) -> None:
        """A list is never older than what was known before, unless the server's data was restored from a backup."""
        _log.warning("%s: the server's history begins anew, at version %d", self._scope.path, version)
        self.store.forget_versions()
        self._position = 0
        self._placed.clear()
        if self._session is not None:
            self._session.cancel()

    async def _collect(self, scope: Scope, limit: int) -> _Listed[T]:
        try:
            return await self._pages(scope, limit)
        except ApiError as error:
            if error.status != 410 or not limit:
                raise
        # The server has dropped the version of the first page before the last page: fetch everything in one page.
        return await self._pages(scope, 0)

    async def _pages(self, scope: Scope, limit: int) -> _Listed[T]:
        query = [*scope.query(), *([("limit", str(limit))] if limit else [])]
        values: dict[str, tuple[int, T | None]] = {}
        version, token = -1, ""
        while True:
            page = decode_page(await self._api.get(scope.path, [*query, *([("continue", token)] if token else [])]))
            version = page.version if version < 0 else version
            for count, item in enumerate(page.items, 1):
                head = head_of(item)
                if self._keep is None or self._keep(head):
                    values[head.key] = (number(head.resource_version), self._value(head, item))
                if count % SLICE == 0:
                    await asyncio.sleep(0)
            token = page.token
            if not token:
                return _Listed(version, values)

    async def _put(self, listed: _Listed[T]) -> int:
        changes = 0
        for count, (key, (version, value)) in enumerate(listed.values.items(), 1):
            if value is not None:
                changes += self._changed(self.store.put_listed(key, version, value))
            if count % SLICE == 0:
                await asyncio.sleep(0)
        return changes

    async def _drop_others(self, listed: _Listed[T]) -> int:
        changes = 0
        for count, key in enumerate(self.store.unlisted(listed.values.__contains__), 1):
            changes += self._changed(self.store.drop_unlisted(key, listed.version))
            if count % SLICE == 0:
                await asyncio.sleep(0)
        return changes

    # -- watches --------------------------------------------------------------------------------------------------

    async def _watch_forever(self) -> None:
        while True:
            await self._placed.wait()
            pause = await self._watch_once()
            if pause:
                await asyncio.sleep(pause)

    async def _watch_once(self) -> float:
        """One watch from start to end; returns the pause before the next one."""
        began = time.monotonic()
        session = self._session = asyncio.create_task(self._follow(), name=f"watch {self._scope.path} once")
        try:
            await asyncio.wait((session,))
        finally:
            # Also when this task is cancelled: the watch task must not be left running.
            self._session = None
            session.cancel()
            await asyncio.wait((session,))
        if session.cancelled():
            return 0.0  # a list has replaced the position
        error = session.exception()
        if time.monotonic() - began > HEALTHY_SECONDS:
            self._watch_pauses.reset()
            if error is None:
                return 0.0
        return self._pause_after(error)

    def _pause_after(self, error: BaseException | None) -> float:
        if error is None:
            return self._watch_pauses.next()
        if not isinstance(error, ApiError):
            _log.error("%s: an event could not be taken", self._scope.path, exc_info=error)
            self._lose_place()
            return self._watch_pauses.next()
        if error.status == 410:
            self._lose_place()
        else:
            self._watch_trouble.tell(str(error))
        return self._watch_pauses.next(error.retry_after)

    def _lose_place(self) -> None:
        """The watch cannot continue from its position: only a list shows the missed changes."""
        self._placed.clear()
        self._list_now.set()

    async def _follow(self) -> None:
        timing = self._timing
        query = [
            *self._scope.query(),
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", str(self._position)),
            ("timeoutSeconds", str(int(timing.watch * random.uniform(1.0, 2.0)))),  # noqa: S311 -- spreads load
        ]
        lines = Lines()
        async with self._api.stream(self._scope.path, query, silence=timing.silence) as stream:
            while data := await stream.read():
                await self._take_all(lines, data)

    async def _take_all(self, lines: Lines, data: bytes) -> None:
        try:
            for count, line in enumerate(lines.feed(data), 1):
                self._take(line)
                if count % SLICE == 0:
                    await asyncio.sleep(0)
        except ValueError as error:
            raise ApiError(f"{self._scope.path}: not a watch: {error}") from error

    def _take(self, line: bytes) -> None:
        event = decode_event(line)
        if event.type == "ERROR":
            error = EventError.of(event)
            raise ApiError(f"watch {self._scope.path}: {error.code} {error.message}", status=error.code)
        head = head_of(event.object)
        version = number(head.resource_version)
        if event.type != "BOOKMARK":
            self._take_object(event, head, version)
        self._position = max(self._position, version)
        self._watch_pauses.reset()
        self._watch_trouble.over()

    def _take_object(self, event: Event, head: Head, version: int) -> None:
        if event.type == "DELETED" or (self._keep is not None and not self._keep(head)):
            self._changed(self.store.delete(head.key, version))
        elif (value := self._value(head, event.object)) is not None:
            self._changed(self.store.put(head.key, version, value))

    # -- objects --------------------------------------------------------------------------------------------------

    def _value(self, head: Head, data: msgspec.Raw) -> T | None:
        """None for an object that cannot be parsed: its last value is kept, and the log says so once."""
        try:
            return self._parse(data)
        except ValueError as error:
            version = number(head.resource_version)
            if self._misfits.get(head.key) != version:
                if len(self._misfits) >= PAGE_OBJECTS:
                    self._misfits.clear()
                self._misfits[head.key] = version
                _log.warning("%s: %s is not understood: %s", self._scope.path, head.key, error)
            return None

    def _changed(self, change: Change[T] | None) -> int:
        if change is None:
            return 0
        self._tell(change)
        return 1


class _Trouble:
    """A problem that is logged when it begins and when it ends, not in between."""

    __slots__ = ("_is_logged", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_logged = False

    def tell(self, reason: str) -> None:
        if not self._is_logged:
            _log.warning("%s; what is known stays, and it is tried again", reason)
        self._is_logged = True

    def over(self) -> None:
        if self._is_logged:
            _log.info("%s: all is well again", self._name)
        self._is_logged = False


@contextlib.contextmanager
def _understood(path: str) -> Iterator[None]:
    """Convert errors in the server's data to ApiError."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise ApiError(f"{path}: {error}") from error


def _settle(asked: list[asyncio.Future[None]], error: ApiError | None) -> None:
    for waiting in asked:
        if waiting.done():
            continue
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
