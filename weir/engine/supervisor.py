"""Keeps one process running: starts it, probes it, restarts it after a failure with growing pauses, drains it and ends it.

Knows neither apps nor components; its callers say what to start and use its state.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from fleet.events.events import Events
from fleet.runtime.address import join_address
from fleet.runtime.backlog import Backlog
from fleet.runtime.tasks import cancel_and_wait
from weir.engine.backoff import Backoff
from weir.engine.busy import BusyDesk
from weir.engine.child import Child, Launch, SpawnError, describe_exit
from weir.engine.error_line import KEPT_LINES, error_line
from weir.engine.lines import always, backlog
from weir.engine.ports import Ports
from weir.engine.probe import Probe, wait_until_ready
from weir.engine.reaper_handle import ReaperHandle
from weir.engine.suggestions import LocalSuggestions

__all__ = ["Job", "ProcessContext", "State", "Supervisor", "Tell"]

STABLE_AFTER = 10.0
"""Seconds of readiness after which the count of failures and the pauses are reset."""
FOREGROUND = "they were ended, because a command has to stay in the foreground"
MAX_ADDRESSES = 5
"""Listening addresses named in a message."""

Tell = Callable[[str, Sequence[str]], None]
"""Called with the speaker ("hello/1") and some lines of its output."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """Resources that all processes of an engine share."""

    reaper: ReaperHandle
    ports: Ports
    tell: Tell
    tasks: asyncio.TaskGroup
    """Owns the supervisors' tasks: an unexpected failure of one ends the engine, instead of leaving an app that never scales
    again."""
    has_room: Callable[[], bool] = always
    """Whether the receiver of output lines keeps up. While it does not, output of processes is not read."""
    behind: Backlog = field(default_factory=backlog)
    """Output still to be passed on: all processes together get one slice of each turn of the event loop."""
    busy: BusyDesk = field(default_factory=BusyDesk)
    """Gives replicas the tokens by which they keep their app awake."""
    events: Events = field(default_factory=lambda: Events((), ""))
    """Where it is told what becomes of apps."""
    suggestions: LocalSuggestions = field(default_factory=LocalSuggestions)
    """Hears of the same."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be kept running."""

    name: str
    """Name in the log."""
    speaker: str
    """Prefix of its output lines."""
    launch: Callable[[], tuple[Launch, Probe]]
    """Called before every start. Raises SpawnError."""
    readiness_timeout: float
    restart_first: float
    restart_limit: float
    """Seconds before a failed process is restarted: the first pause, and the longest."""
    port_in_environment: bool = False
    """Whether the process got its port by a variable only, and may listen elsewhere; then that is detected and logged."""


class State(enum.Enum):
    """The state of a process. Every state may change to DRAINING, which is final."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    """Waits for its next start."""
    DRAINING = "draining"
    """Gets no new requests, and will end."""


class Supervisor:
    """Runs one job. `on_change` is called on the loop's thread when the state changes by itself."""

    def __init__(self, job: Job, context: ProcessContext, *, on_change: Callable[[], None]) -> None:
        self.state = State.STARTING
        self.failures = 0
        """Failures since it was last stable."""
        self.problem = ""
        """The last failure."""
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        """The last lines of the output."""
        self._host = ""
        self._hint = ""
        self._error_line = ""
        self._job, self._context, self._on_change = job, context, on_change
        self._backoff = Backoff(job.restart_first, job.restart_limit)
        self._child: Child | None = None
        self._probe: Probe | None = None
        self._served = False
        self._task: asyncio.Task[None] | None = None

    @property
    def reason(self) -> str:
        """Why it is not ready, with the best error line of its output; empty when it is ready or starts normally."""
        if self._hint or not self.failures:
            return self._hint
        return f"{self.problem}: {self._error_line}" if self._error_line else self.problem

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port where it can be reached, while it is ready."""
        return (self._host, self._probe.port) if self._probe is not None and self.state is State.READY else None

    def start(self) -> None:
        """Start the process before this call returns, because a request may be waiting."""
        self._spawn()
        self._task = self._context.tasks.create_task(self._live(), name=self._job.name)

    def withdraw(self) -> None:
        """Stop restarting it, and mark it as draining, so that it gets no new requests. `end` must follow."""
        self._served = self.state is State.READY
        self.state = State.DRAINING

    async def end(self, *, grace: float, drained: Callable[[], Awaitable[None]] | None = None) -> None:
        """If it was ready, wait until `drained` returns; then SIGTERM, and SIGKILL after `grace` seconds."""
        await cancel_and_wait(self._task)
        if self._child is None:
            return
        if self._served and drained is not None:
            await _ended_before(self._child, drained())
        await self._child.stop(grace)
        self._child = None
        _log.info("%s: ended", self._job.name)

    async def _live(self) -> None:
        while True:
            if self._child is not None:
                self.problem = await self._run(self._child, self._probe)
                self._child = None
            pause = self._backoff.pause()
            self.failures += 1
            _log.warning("%s: %s; starts again in %g s", self._job.name, self.problem, pause)
            self._set(State.FAILED)
            await asyncio.sleep(pause)
            self._spawn()
            self._set(State.STARTING)

    def _spawn(self) -> None:
        self._hint = ""
        self.last_lines.clear()
        try:
            launch, self._probe = self._job.launch()
            self._child = Child(
                launch,
                self._context.reaper,
                on_lines=self._on_lines,
                has_room=self._context.has_room,
                behind=self._context.behind,
            )
        except SpawnError as error:
            self.problem, self._error_line = str(error), ""
            return
        _log.info("%s: started, pid %d, port %d", self._job.name, self._child.pid, self._probe.port)

    def _on_lines(self, lines: Sequence[str]) -> None:
        self.last_lines.extend(lines)
        self._context.tell(self._job.speaker, lines)

    async def _run(self, child: Child, probe: Probe | None) -> str:
        """Run until the process ends; returns a description of how it ended."""
        unready: list[str] = []
        watching = asyncio.create_task(self._watch(child, probe, unready), name=f"{self._job.name}: readiness")
        try:
            code = await child.wait()
        finally:
            await cancel_and_wait(watching)
        await child.kill()
        self._error_line = "" if unready else error_line(self.last_lines)
        if unready:
            return unready[0]
        how = f"ended with {describe_exit(code)}"
        return how if code or not child.left_behind else f"{how}, and left processes behind; {FOREGROUND}"

    async def _watch(self, child: Child, probe: Probe | None, unready: list[str]) -> None:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._job.readiness_timeout):
                if probe is not None:
                    explained = self._job.port_in_environment or probe.check is not None
                    late = partial(self._late, child, probe) if explained else None
                    self._host = await wait_until_ready(probe, late=late)
        except TimeoutError:
            why = "" if probe is None else f": {probe.failure}{await self._elsewhere(child, probe)}"
            unready.append(f"was not ready after {self._job.readiness_timeout:g} s{why}")
            await child.kill()
            return
        self._hint = ""
        took = asyncio.get_running_loop().time() - began
        _log.info("%s: ready after %.0f ms", self._job.name, took * 1000)
        self._set(State.READY)
        await asyncio.sleep(STABLE_AFTER)
        self.failures = 0
        self._backoff.reset()

    async def _late(self, child: Child, probe: Probe) -> None:
        """Called when readiness takes long: log only if the process listens on another address than it was told, or what the
        command of its readiness says."""
        elsewhere = await self._elsewhere(child, probe)
        said = "" if probe.check is None else probe.check.said
        hint = f"is not ready yet: {probe.failure}{elsewhere}" if elsewhere or said else ""
        if hint in (self._hint, "") or self.state is State.DRAINING:
            return
        self._hint = hint
        _log.warning("%s: %s", self._job.name, hint)
        self._on_change()

    async def _elsewhere(self, child: Child, probe: Probe) -> str:
        """The addresses on which the process listens, if not on the one it was told."""
        found = await child.listening() if self._job.port_in_environment else ()
        others = [join_address(host, port) for host, port in found if port != probe.port]
        return f"; it listens on {', '.join(others[:MAX_ADDRESSES])}" if others else ""

    def _set(self, state: State) -> None:
        if self.state is not State.DRAINING:
            self.state = state
            self._on_change()


async def _ended_before(child: Child, drained: Awaitable[None]) -> None:
    """Return when the requests are drained, or when the process has ended before that."""
    waits = [asyncio.ensure_future(drained), asyncio.ensure_future(child.wait())]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            wait.result()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
