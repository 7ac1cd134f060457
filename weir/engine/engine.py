"""The engine of `weir up`: the interceptors and the scaler, the apps, and the file that configures them.

The composition root: creates the parts and ends them in order. Decisions are made in other modules.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from grpc import aio

from fleet.events.events import Events, open_events
from fleet.events.settings import EventSettings
from fleet.runtime.address import near_host
from fleet.runtime.process import Shutdown, StartError
from fleet.runtime.settings import SettingsError
from fleet.runtime.tasks import cancel_and_wait
from protos.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from weir.engine.app import App
from weir.engine.busy import BusyDesk
from weir.engine.children import ChildPlanes
from weir.engine.held import Held, needed
from weir.engine.inline import InlinePlanes
from weir.engine.keda import scaler_channel
from weir.engine.layout import Layout, Planes
from weir.engine.reaper_handle import ReaperHandle
from weir.engine.spec import AppSpec, FleetSpec
from weir.engine.specfile import STDIN, SpecError, SpecFile, load_spec
from weir.engine.specwatch import SpecWatch
from weir.engine.state import StateDirectory
from weir.engine.suggestions import LocalSuggestions
from weir.engine.supervisor import ProcessContext, Tell
from weir.engine.termination import certified, check_termination

if TYPE_CHECKING:
    from weir.engine.local_authority import LocalCertificates

__all__ = ["Engine", "Options", "Ready"]

JOIN_TIMEOUT = 15.0
"""Seconds until the scaler must know every app of the file. It reads the routes from the same disk."""
RESYNC = 5.0
"""Seconds between two checks of the file, in case a change notification was missed."""

Ready = Callable[["Engine"], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How the engine is run. What it runs is in the file."""

    file: Path
    state_directory: Path
    temporary: bool
    """Whether the state directory is removed when the engine ends."""
    processes: bool
    log_level: str
    """For components that run as their own processes."""
    host: str
    proxy_port: int | None
    """Overrides the port in the file."""
    tls: bool
    """Whether interceptors also serve TLS, with certificates of the user's own authority."""
    duration: float | None
    """Seconds to run after all is ready; None means until a signal."""


class Engine:
    """Runs one file of apps."""

    def __init__(self, file: SpecFile, options: Options, *, tell: Tell, has_room: Callable[[], bool], on_ready: Ready) -> None:
        self._file, self._options = file, options
        self._check = partial(check_termination, options.file, makes_certificates=options.tls)
        self._tell, self._has_room, self._on_ready = tell, has_room, on_ready
        self._apps: dict[str, App] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        """Apps that were removed from the file, while their replicas finish open requests."""
        self.complaint: tuple[str, ...] = ()
        """What is wrong with the file as it is now, if the last valid version of it is in force."""
        self._state = StateDirectory(options.state_directory)
        self.busy = BusyDesk(self._state.write_busy, most=self._max_busy)
        self._events = _events()
        self.suggestions = LocalSuggestions(lambda: self._file.table, lambda: self._file.copies, self._state.note)
        self._certificates: LocalCertificates | None = None
        """Names that the certificates have."""
        self._planes: Planes | None = None
        self._channel: aio.Channel | None = None

    @property
    def apps(self) -> Sequence[App]:
        """In the order of the file."""
        return [self._apps[spec.key] for spec in self._file.spec.apps if spec.key in self._apps]

    def app(self, key: str) -> App | None:
        """One of them; None if it is not started here, or not yet."""
        return self._apps.get(key)

    @property
    def outside(self) -> Sequence[AppSpec]:
        """Apps that are not started here, in the order of the file."""
        return [spec for spec in self._file.spec.apps if spec.outside is not None]

    @property
    def spec(self) -> FleetSpec:
        """The last valid version of the file."""
        return self._file.spec

    @property
    def file(self) -> SpecFile:
        """The same, as it was read."""
        return self._file

    @property
    def leaving(self) -> Sequence[str]:
        """Apps that are no longer in the file, and whose replicas have not ended yet."""
        kept = {spec.key for spec in self._file.spec.apps}
        return [*self._leaving, *(key for key in self._apps if key not in kept)]

    @property
    def rpc_addresses(self) -> Sequence[str]:
        """RPC addresses of the interceptors that run now."""
        return list(self._planes.rpc_addresses.values()) if self._planes else []

    @property
    def near_host(self) -> str:
        """Address at which this machine reaches the interceptors."""
        return near_host(self._options.host)

    @property
    def proxy_ports(self) -> tuple[int, ...]:
        return self._planes.proxy_ports if self._planes else ()

    @property
    def proxy_tls_ports(self) -> tuple[int, ...]:
        return self._planes.proxy_tls_ports if self._planes else ()

    @property
    def authority(self) -> Path | None:
        """The file of the authority whose certificates are served."""
        return None if self._certificates is None else self._certificates.authority.path

    def _max_busy(self, key: str) -> float:
        return self._apps[key].spec.max_busy if key in self._apps else 0.0

    async def run(self, shutdown: Shutdown) -> None:
        """Run until a shutdown is requested or the duration has passed. Raises StartError."""
        reaper = ReaperHandle(self._options.state_directory if self._options.temporary else None)
        self._events.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                context = ProcessContext(
                    reaper=reaper,
                    ports=self._file.leases.beside_processes(),
                    tell=self._tell,
                    tasks=tasks,
                    has_room=self._has_room,
                    busy=self.busy,
                    events=self._events,
                    suggestions=self.suggestions,
                )
                await self._until(shutdown, tasks.create_task(self._live(context), name="life of the engine"))
        except BaseExceptionGroup as group:
            raise _plainest(group) from group
        finally:
            await self._events.close()
            self._state.close()
            await asyncio.to_thread(reaper.close)

    async def _until(self, shutdown: Shutdown, life: asyncio.Task[None]) -> None:
        requested = asyncio.create_task(shutdown.wait(), name="wait for a signal")
        try:
            await asyncio.wait([life, requested], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # If this task has failed, the task group raises the failure.
            life.cancel()
            await asyncio.wait([life])
            await cancel_and_wait(requested)
            await self._close()

    async def _live(self, context: ProcessContext) -> None:
        """Start everything, then follow the file until cancelled."""
        if self._options.file == STDIN:  # standard input cannot be read again, so there is nothing to follow
            await self._start(context)
            self._on_ready(self)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.duration):
                    await asyncio.Event().wait()
            return
        # Watch before the first read, so that an edit during the start is not missed.
        watch = SpecWatch(self._options.file)
        watch.start()
        try:
            await self._start(context)
            self._on_ready(self)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.duration):
                    await self._follow(watch, context)
        finally:
            await watch.close()

    async def _start(self, context: ProcessContext) -> None:
        self._state.write_table(self._file.table)
        if self._options.tls:
            self._certificates = await asyncio.to_thread(_certificates, self._options.state_directory)
            await self._certify()
        directory = None if self._certificates is None else self._certificates.directory
        self._planes = planes = _planes(self._file.spec, self._options, self._state, context, directory)
        await planes.start()
        self._channel = scaler_channel(planes.scaler_address)
        self._stub = ExternalScalerStub(self._channel)
        for spec in _started(self._file.spec):
            self._add(spec, planes, context)
        self._follow_each_other()
        await self._joined()

    async def _certify(self) -> None:
        """Make certificates for the hosts of the file, unless they are there already."""
        certificates = self._certificates
        if certificates is None:
            return
        try:
            await asyncio.to_thread(certificates.write, certified(self._file))
        except OSError as error:
            _log.error("certificates could not be written to %s: %s", certificates.directory, error.strerror)

    async def _joined(self) -> None:
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                for app in self.apps:
                    await app.joined.wait()
        except TimeoutError as error:
            missing = ", ".join(app.spec.key for app in self.apps if not app.joined.is_set())
            raise StartError(f"the scaler does not know {missing}") from error

    def _add(self, spec: AppSpec, planes: Planes, context: ProcessContext) -> None:
        app = App(
            spec,
            self._file.directory,
            self._stub,
            scaler_address=planes.scaler_address,
            poll_interval=lambda: self._file.spec.poll_interval,
            context=context,
            publish=self._state.publish,
            at_work=planes.at_work,
            needs=partial(self._needs, spec.key),
        )
        self._apps[spec.key] = app
        app.start()

    def _needs(self, key: str) -> Mapping[str, Held | None]:
        """The apps that have to be awake for what runs before another one."""
        started = {spec.key for spec in _started(self._file.spec)}
        return needed(self._file.table.dependencies, started, {other: app.held for other, app in self._apps.items()}, key)

    def _follow_each_other(self) -> None:
        """Tell the apps that rules of others name as backends whose requests they get."""
        named: dict[str, set[str]] = {}
        for spec in self._file.spec.apps:
            for _, key in spec.backend_keys():
                named.setdefault(key, set()).add(spec.key)
        for key, app in self._apps.items():
            app.follow(named.get(key, ()))

    async def _follow(self, watch: SpecWatch, context: ProcessContext) -> None:
        while True:
            await watch.also(self._file.files)
            await watch.wait(RESYNC)
            try:
                # On a thread: parsing a large file would block the event loop, which also carries requests.
                file = await asyncio.to_thread(load_spec, self._options.file, self._file.leases, self._check)
            except SpecError as error:
                if error.lines != self.complaint:
                    for line in error.lines:
                        _log.error("%s", line)
                    _log.error("%s: the last good file stays in force", self._options.file)
                self.complaint = error.lines
                continue
            if self.complaint or _is_other(file, self._file):
                _log.info("%s: read", self._options.file)
            self.complaint = ()
            await self._apply(file, context)
            await self._certify()

    async def _apply(self, file: SpecFile, context: ProcessContext) -> None:
        """Apply a changed file. Write the routes first: requests for a new app are held until it is ready, and a removed app
        gets no new requests."""
        last, self._file = self._file, file
        before, planes = last.spec, self._planes
        if planes is None or not _is_other(file, last):
            return
        self._state.write_table(file.table)
        wanted = {spec.key: spec for spec in _started(file.spec)}
        for spec in wanted.values():
            if spec.key not in self._apps:
                await self._has_left(spec.key)
                self._add(spec, planes, context)
            elif self._apps[spec.key].spec != spec:
                self._apps[spec.key].update(spec)
        for field in _FIXED:
            if getattr(before, field) != getattr(file.spec, field):
                _log.warning("%s: %s takes effect at the next start", self._options.file, field)
        self._follow_each_other()
        for key in [key for key in self._apps if key not in wanted]:
            self._leaving[key] = task = context.tasks.create_task(self._apps.pop(key).close(drain=True), name=f"end of {key}")
            task.add_done_callback(partial(self._left, key))
        if before.interceptors != file.spec.interceptors:
            await self._resize(planes, file.spec.interceptors)

    def _left(self, key: str, task: asyncio.Task[None]) -> None:
        if self._leaving.get(key) is task:
            del self._leaving[key]
            self.suggestions.forget(key)

    async def _has_left(self, key: str) -> None:
        """Wait until an earlier app of this key has ended, in case it was removed and added again."""
        leaving = self._leaving.get(key)
        if leaving is not None:
            await asyncio.wait([leaving])

    async def _resize(self, planes: Planes, interceptors: int) -> None:
        try:
            await planes.resize(interceptors)
        except StartError as error:
            _log.error("%s: interceptors: %s", self._options.file, error)

    async def _close(self) -> None:
        """End in order: the interceptors finish open requests while the apps still run; then the apps end, then the scaler."""
        for app in self._apps.values():
            app.expect_shutdown()
        if self._planes is not None:
            await self._planes.drain()
        await asyncio.gather(*(app.close(drain=False) for app in self._apps.values()))
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()))
        if self._planes is not None:
            await self._planes.close()
        if self._channel is not None:
            await self._channel.close()


def _started(spec: FleetSpec) -> Sequence[AppSpec]:
    """The apps that are started here."""
    return [app for app in spec.apps if app.outside is None]


def _is_other(file: SpecFile, before: SpecFile) -> bool:
    """Whether the file, or a file that it refers to, has changed."""
    return file.spec != before.spec or file.table.version != before.table.version


def _events() -> Events:
    """As the environment says. Raises StartError."""
    try:
        return open_events(EventSettings.load())
    except SettingsError as error:
        raise StartError(str(error)) from error


_FIXED = ("ports", "interceptor", "scaler")
"""Fields that are read only at the start: components keep their ports and settings."""


def _certificates(state: Path) -> LocalCertificates:
    from weir.engine.local_authority import LocalAuthority, LocalCertificates, authority_directory  # noqa: PLC0415  # 8 MB

    return LocalCertificates(LocalAuthority(authority_directory()), state / "tls")


def _planes(
    spec: FleetSpec, options: Options, state: StateDirectory, context: ProcessContext, certificates: Path | None
) -> Planes:
    layout = Layout(
        spec,
        state,
        host=options.host,
        proxy_port=options.proxy_port,
        log_level=options.log_level,
        certificates=certificates,
    )
    return ChildPlanes(layout, state, context) if options.processes else InlinePlanes(layout, state)


def _plainest(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show the user: a StartError if there is one, else the group itself, which means a defect."""
    for error in group.exceptions:
        inner = _plainest(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(inner, StartError | SettingsError):
            return inner
    return group
