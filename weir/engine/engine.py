"""The engine behind `weir up`: the planes, the apps and the file that says what they should be.

The composition root: it puts the parts together and ends them in order. Decisions are elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from grpc import aio

from fleet.runtime.address import near_host
from fleet.runtime.process import Shutdown, StartError
from fleet.runtime.settings import SettingsError
from fleet.runtime.tasks import cancel_and_wait
from protos.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from weir.engine.app import App
from weir.engine.children import ChildPlanes
from weir.engine.guard import Guard
from weir.engine.inline import InlinePlanes
from weir.engine.keda import scaler_channel
from weir.engine.layout import Layout, Planes
from weir.engine.ports import Ports
from weir.engine.spec import AppSpec, FleetSpec
from weir.engine.specfile import STDIN, SpecError, SpecFile, load_spec
from weir.engine.specwatch import SpecWatch
from weir.engine.state import StateDirectory
from weir.engine.supervisor import Tell, Yard

__all__ = ["Engine", "Options", "Ready"]

JOIN_TIMEOUT = 15.0
"""Seconds for the scaler to know every app of the file, which it reads from the same disk."""
RESYNC = 5.0
"""Seconds between two looks at the file, in case a change of it was not told."""

Ready = Callable[["Engine"], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How the engine is run; what it runs is in the file."""

    file: Path
    state_directory: Path
    temporary: bool
    """Whether the state directory goes when the engine does."""
    processes: bool
    log_level: str
    """Of the components that are processes of their own."""
    host: str
    proxy_port: int | None
    """Instead of what the file says."""
    duration: float | None
    """Seconds from readiness to the end; None is until a signal."""


class Engine:
    """Runs one file of apps."""

    def __init__(self, file: SpecFile, options: Options, *, tell: Tell, has_room: Callable[[], bool], on_ready: Ready) -> None:
        self._file, self._options = file, options
        self._tell, self._has_room, self._on_ready = tell, has_room, on_ready
        self._apps: dict[str, App] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        """Apps that the file has no more, while their replicas finish what they have."""
        self._state = StateDirectory(options.state_directory)
        self._planes: Planes | None = None
        self._channel: aio.Channel | None = None

    @property
    def apps(self) -> Sequence[App]:
        """In the order of the file."""
        return [self._apps[spec.key] for spec in self._file.spec.apps if spec.key in self._apps]

    @property
    def spec(self) -> FleetSpec:
        """The last good file."""
        return self._file.spec

    @property
    def rpc_addresses(self) -> Sequence[str]:
        """Where the interceptors that run now tell their queue sizes."""
        return list(self._planes.rpc_addresses.values()) if self._planes else []

    @property
    def near_host(self) -> str:
        """Where this machine reaches the interceptors."""
        return near_host(self._options.host)

    @property
    def proxy_ports(self) -> tuple[int, ...]:
        return self._planes.proxy_ports if self._planes else ()

    async def run(self, shutdown: Shutdown) -> None:
        """Until the shutdown is requested or the duration has passed. Raises StartError."""
        guard = Guard(self._options.state_directory if self._options.temporary else None)
        try:
            async with asyncio.TaskGroup() as tasks:
                yard = Yard(guard=guard, ports=Ports(), tell=self._tell, tasks=tasks, has_room=self._has_room)
                await self._until(shutdown, tasks.create_task(self._live(yard), name="life of the engine"))
        except BaseExceptionGroup as group:
            raise _plainest(group) from group
        finally:
            self._state.close()
            await asyncio.to_thread(guard.close)

    async def _until(self, shutdown: Shutdown, life: asyncio.Task[None]) -> None:
        requested = asyncio.create_task(shutdown.wait(), name="wait for a signal")
        try:
            await asyncio.wait([life, requested], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Its failure, if it is one, is told by the group that owns it.
            life.cancel()
            await asyncio.wait([life])
            await cancel_and_wait(requested)
            await self._close()

    async def _live(self, yard: Yard) -> None:
        """Start everything, then follow the file for as long as the engine is to run."""
        if self._options.file == STDIN:  # read, and gone
            await self._start(yard)
            self._on_ready(self)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.duration):
                    await asyncio.Event().wait()
            return
        # Watched before it is started from: an edit during the start is seen after it.
        watch = SpecWatch(self._options.file)
        watch.start()
        try:
            await self._start(yard)
            self._on_ready(self)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.duration):
                    await self._follow(watch, yard)
        finally:
            await watch.close()

    async def _start(self, yard: Yard) -> None:
        self._state.write_table(self._file.table)
        self._planes = planes = _planes(self._file.spec, self._options, self._state, yard)
        await planes.start()
        self._channel = scaler_channel(planes.scaler_address)
        self._stub = ExternalScalerStub(self._channel)
        for spec in self._file.spec.apps:
            self._add(spec, planes, yard)
        await self._joined()

    async def _joined(self) -> None:
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                for app in self.apps:
                    await app.joined.wait()
        except TimeoutError as error:
            missing = ", ".join(app.spec.key for app in self.apps if not app.joined.is_set())
            raise StartError(f"the scaler does not know {missing}") from error

    def _add(self, spec: AppSpec, planes: Planes, yard: Yard) -> None:
        app = App(
            spec,
            self._file.directory,
            self._stub,
            scaler_address=planes.scaler_address,
            poll_interval=lambda: self._file.spec.poll_interval,
            yard=yard,
            publish=self._state.publish,
            at_work=planes.at_work,
        )
        self._apps[spec.key] = app
        app.start()

    async def _follow(self, watch: SpecWatch, yard: Yard) -> None:
        complaint = ""
        while True:
            await watch.also(self._file.files)
            await watch.wait(RESYNC)
            try:
                # On a thread: a big file must not stall the requests that go through this process.
                file = await asyncio.to_thread(load_spec, self._options.file)
            except SpecError as error:
                if str(error) != complaint:
                    for line in error.lines:
                        _log.error("%s", line)
                    _log.error("%s: the last good file stays in force", self._options.file)
                complaint = str(error)
                continue
            if complaint or _is_other(file, self._file):
                _log.info("%s: read", self._options.file)
            complaint = ""
            await self._apply(file, yard)

    async def _apply(self, file: SpecFile, yard: Yard) -> None:
        """Routes first: requests for a new app are held until it is there, and a removed one gets no new ones."""
        last, self._file = self._file, file
        before, planes = last.spec, self._planes
        if planes is None or not _is_other(file, last):
            return
        self._state.write_table(file.table)
        wanted = {spec.key: spec for spec in file.spec.apps}
        for spec in file.spec.apps:
            if spec.key not in self._apps:
                await self._has_left(spec.key)
                self._add(spec, planes, yard)
            elif self._apps[spec.key].spec != spec:
                self._apps[spec.key].update(spec)
        for field in _FIXED:
            if getattr(before, field) != getattr(file.spec, field):
                _log.warning("%s: %s takes effect at the next start", self._options.file, field)
        for key in [key for key in self._apps if key not in wanted]:
            self._leaving[key] = task = yard.tasks.create_task(self._apps.pop(key).close(drain=True), name=f"end of {key}")
            task.add_done_callback(partial(self._left, key))
        if before.interceptors != file.spec.interceptors:
            await self._resize(planes, file.spec.interceptors)

    def _left(self, key: str, task: asyncio.Task[None]) -> None:
        if self._leaving.get(key) is task:
            del self._leaving[key]

    async def _has_left(self, key: str) -> None:
        """An app that is brought back begins when its end is over."""
        leaving = self._leaving.get(key)
        if leaving is not None:
            await asyncio.wait([leaving])

    async def _resize(self, planes: Planes, interceptors: int) -> None:
        try:
            await planes.resize(interceptors)
        except StartError as error:
            _log.error("%s: interceptors: %s", self._options.file, error)

    async def _close(self) -> None:
        """Interceptors finish what they have while the apps still run; then the apps end, then the scaler."""
        for app in self._apps.values():
            app.end_is_near()
        if self._planes is not None:
            await self._planes.drain()
        await asyncio.gather(*(app.close(drain=False) for app in self._apps.values()))
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()))
        if self._planes is not None:
            await self._planes.close()
        if self._channel is not None:
            await self._channel.close()


def _is_other(file: SpecFile, before: SpecFile) -> bool:
    """Whether it says something else, in itself or in the files that it names."""
    return file.spec != before.spec or file.table.version != before.table.version


_FIXED = ("ports", "interceptor", "scaler")
"""Fields that are read once: components keep the ports and settings that they were started with."""


def _planes(spec: FleetSpec, options: Options, state: StateDirectory, yard: Yard) -> Planes:
    layout = Layout(spec, state, host=options.host, proxy_port=options.proxy_port, log_level=options.log_level)
    return ChildPlanes(layout, state, yard) if options.processes else InlinePlanes(layout, state)


def _plainest(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The reason for an operator when there is one; else the group itself, which is a defect and shows all of it."""
    for error in group.exceptions:
        inner = _plainest(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(inner, StartError | SettingsError):
            return inner
    return group
