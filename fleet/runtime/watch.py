"""Waits for changes of files without polling.

Reports only that a file may have changed; the caller reads it and compares. On Linux it uses inotify on the event loop.
watchfiles uses a thread that wakes at every step of its debounce, hundreds of times a second for a short one, and takes the GIL
from the data path each time; so it is used only where inotify does not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import struct
import sys
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Final, NoReturn, Protocol

from fleet.runtime.tasks import cancel_and_wait

__all__ = ["FileWatch", "Stamp", "stamp"]

SPACING_SECONDS: Final = 0.002
"""Seconds: the first change is reported at once, those right after it together, so that a file that changes constantly does
not use up the CPU."""
_EVENT_BYTES: Final = 64 << 10
_IN_CLOSE_WRITE: Final = 0x8
_IN_MOVED_FROM: Final = 0x40
_IN_MOVED_TO: Final = 0x80
_IN_DELETE: Final = 0x200
_IN_DELETE_SELF: Final = 0x400
_IN_MOVE_SELF: Final = 0x800
_IN_ONLYDIR: Final = 0x01000000
# Neither IN_CREATE nor IN_MODIFY: a file that is not closed yet may be incomplete.
_MASK: Final = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_DELETE | _IN_DELETE_SELF | _IN_MOVE_SELF
_HEADER: Final = struct.Struct("iIII")

_log = logging.getLogger(__name__)

Stamp = tuple[int, int, int, int]


def stamp(path: Path) -> Stamp:
    """Changes when a file was replaced, also behind a symbolic link; zeros for a missing file."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0, 0)
    return (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)


class _Notifier(Protocol):
    def start(self) -> None: ...

    async def close(self) -> None: ...


class FileWatch:
    """Reports that one of some files may have changed: written, renamed into place, or changed behind a symbolic link.

    Watches the directories, so files may be created and removed. One caller waits at a time.
    """

    def __init__(
        self, paths: Collection[Path], *, directories: Collection[Path] = (), notifier: Callable[..., _Notifier] | None = None
    ) -> None:
        """In `directories`, any change is reported, also of files that do not exist yet."""
        self._paths = {path: stamp(path) for path in paths}
        self._any = bool(directories)
        self._names = {path.name for path in paths}
        self._changed = asyncio.Event()
        make = notifier or (InotifyNotifier if sys.platform == "linux" else WatchfilesNotifier)
        self._notifier = make({*(path.parent for path in paths), *directories}, self._on_name)

    def start(self) -> None:
        """Start to watch: any later change ends the next `wait`."""
        self._notifier.start()

    async def wait(self, longest: float) -> bool:
        """True when a file may have changed; False after `longest` seconds, so that the caller reads in case the watch is
        broken."""
        await asyncio.sleep(SPACING_SECONDS)
        try:
            async with asyncio.timeout(longest):
                await self._changed.wait()
        except TimeoutError:
            # Watch again directories that were missing or have been replaced.
            self._notifier.start()
            return False
        # Cleared before the caller reads, so that a change during the read ends the next wait.
        self._changed.clear()
        return True

    async def close(self) -> None:
        await self._notifier.close()

    def _on_name(self, name: str) -> None:
        # Another name may be a symbolic link on the path to a file, as in a ConfigMap volume.
        if self._any or name in self._names or self._moved():
            self._changed.set()

    def _moved(self) -> bool:
        before = dict(self._paths)
        for path in self._paths:
            self._paths[path] = stamp(path)
        return before != self._paths


class InotifyNotifier:
    """Names that changed in some directories, from inotify(7)."""

    def __init__(self, directories: Collection[Path], on_name: Callable[[str], None]) -> None:
        self._directories = directories
        self._on_name = on_name
        self._fd = -1

    def start(self) -> None:
        """Watch the existing directories. May be called again, for directories created since."""
        if self._fd < 0:
            try:
                self._fd = _inotify_init()
            except OSError as error:
                _log.warning("changes of files are seen late: %s", error.strerror)
                return
            asyncio.get_running_loop().add_reader(self._fd, self._on_readable)
        for directory in self._directories:
            try:
                _inotify_add(self._fd, directory)
            except OSError as error:
                _log.warning("changes in %s are seen late: %s", directory, error.strerror)

    async def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    def _on_readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._fd, _EVENT_BYTES)
            for name in _names(data):
                self._on_name(name)


def _inotify_init() -> int:
    fd: int = _libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    return fd if fd >= 0 else _raise_errno()


def _inotify_add(fd: int, directory: Path) -> None:
    """Watch a directory; adding the same one again has no effect."""
    if _libc().inotify_add_watch(fd, os.fsencode(directory), _MASK | _IN_ONLYDIR) < 0:
        _raise_errno()


def _raise_errno() -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _names(data: bytes) -> list[str]:
    names = []
    offset = 0
    while offset < len(data):
        *_, length = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        names.append(os.fsdecode(data[offset : offset + length].rstrip(b"\0")))
        offset += length
    return names


class WatchfilesNotifier:
    """Names that changed in some directories, from watchfiles."""

    STEP_MS = 10

    def __init__(self, directories: Collection[Path], on_name: Callable[[str], None]) -> None:
        self._directories = directories
        self._on_name = on_name
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="files:watch")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def _watch(self) -> None:
        from watchfiles import awatch  # noqa: PLC0415  # costs memory, and is not needed where there is inotify

        try:
            async for changes in awatch(*self._directories, step=self.STEP_MS, debounce=2 * self.STEP_MS, recursive=False):
                for _, path in changes:
                    self._on_name(Path(path).name)
        except FileNotFoundError as error:
            _log.warning("changes of files are seen late: %s", error)
