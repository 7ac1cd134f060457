"""Keeps one process running: started, probed, restarted after a failure with longer and longer pauses, drained, ended.

Knows neither apps nor components; those say what to start and what its state means.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from fleet.runtime.address import join_address
from fleet.runtime.backlog import Backlog
from fleet.runtime.tasks import cancel_and_wait
from weir.engine.backoff import Backoff
from weir.engine.child import Child, Launch, SpawnError, describe_exit
from weir.engine.guard import Guard
from weir.engine.lastwords import KEPT_LINES, last_words
from weir.engine.lines import always, backlog
from weir.engine.ports import Ports
from weir.engine.probe import Probe, wait_until_ready

__all__ = ["Job", "State", "Supervisor", "Tell", "Yard"]

STABLE_AFTER = 10.0
"""Seconds of being ready after which a failure counts as the first again."""
FOREGROUND = "they were ended, because a command has to stay in the foreground"
MAX_ADDRESSES = 5
"""Told of what listens elsewhere."""

Tell = Callable[[str, Sequence[str]], None]
"""Takes who speaks ("hello/1") and some lines of its output."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Yard:
    """What every process of an engine shares."""

    guard: Guard
    ports: Ports
    tell: Tell
    tasks: asyncio.TaskGroup
    """Owns what runs on: a task that fails ends the engine, instead of an app that silently never scales again."""
    has_room: Callable[[], bool] = always
    """Whether those who read the lines keep up. While they do not, processes are not read from."""
    behind: Backlog = field(default_factory=backlog)
    """Whose output is still to be told: all together get one slice of a turn."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be kept running."""

    name: str
    """How the log calls it."""
    speaker: str
    """How its own lines are marked."""
    launch: Callable[[], tuple[Launch, Probe]]
    """Asked before every start. Raises SpawnError."""
    readiness_timeout: float
    restart_first: float
    restart_limit: float
    """Seconds before a failed process is started again: the first pause, and the longest."""
    told_its_port: bool = False
    """Whether it may listen elsewhere than it was told, which is then told of."""


class State(enum.Enum):
    """Where a process is in its life. Any state may be followed by DRAINING, and DRAINING by none."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    """Waits for its next start."""
    DRAINING = "draining"
    """Gets no new requests, and ends."""


class Supervisor:
    """Runs one job. `on_change` is called when the state changes by itself, on the loop's thread."""

    def __init__(self, job: Job, yard: Yard, *, on_change: Callable[[], None]) -> None:
        self.state = State.STARTING
        self.failures = 0
        """Failures since it was last stable."""
        self.problem = ""
        """How it failed last."""
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        """Of its output."""
        self._host = ""
        self._hint = ""
        self._words = ""
        self._job, self._yard, self._on_change = job, yard, on_change
        self._backoff = Backoff(job.restart_first, job.restart_limit)
        self._child: Child | None = None
        self._probe: Probe | None = None
        self._served = False
        self._task: asyncio.Task[None] | None = None

    @property
    def reason(self) -> str:
        """Why it is not ready, if it is not as it should be, with what it said of that itself; empty otherwise."""
        if self._hint or not self.failures:
            return self._hint
        return f"{self.problem}: {self._words}" if self._words else self.problem

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it can be reached, once it is ready and while it is."""
        return (self._host, self._probe.port) if self._probe is not None and self.state is State.READY else None

    def start(self) -> None:
        """Start the process now, within this very call: a request may be waiting for it."""
        self._spawn()
        self._task = self._yard.tasks.create_task(self._live(), name=self._job.name)

    def withdraw(self) -> None:
        """It is not started again, and its state tells that it is to get no new requests. `end` must follow."""
        self._served = self.state is State.READY
        self.state = State.DRAINING

    async def end(self, *, grace: float, drained: Callable[[], Awaitable[None]] | None = None) -> None:
        """Wait for what it has in hand if it was ready, until `drained` returns; then SIGTERM, `grace` seconds, SIGKILL."""
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
                self._yard.guard,
                on_lines=self._told,
                has_room=self._yard.has_room,
                behind=self._yard.behind,
            )
        except SpawnError as error:
            self.problem, self._words = str(error), ""
            return
        _log.info("%s: started, pid %d, port %d", self._job.name, self._child.pid, self._probe.port)

    def _told(self, lines: Sequence[str]) -> None:
        self.last_lines.extend(lines)
        self._yard.tell(self._job.speaker, lines)

    async def _run(self, child: Child, probe: Probe | None) -> str:
        """Until the process ends; tells how it did."""
        unready: list[str] = []
        watching = asyncio.create_task(self._watch(child, probe, unready), name=f"{self._job.name}: readiness")
        try:
            code = await child.wait()
        finally:
            await cancel_and_wait(watching)
        await child.kill()
        self._words = "" if unready else last_words(self.last_lines)
        if unready:
            return unready[0]
        how = f"ended with {describe_exit(code)}"
        return how if code or not child.left_behind else f"{how}, and left processes behind; {FOREGROUND}"

    async def _watch(self, child: Child, probe: Probe | None, unready: list[str]) -> None:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._job.readiness_timeout):
                if probe is not None:
                    late = partial(self._late, child, probe) if self._job.told_its_port else None
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
        """It takes longer than most, which is nothing to tell of unless it listens elsewhere."""
        elsewhere = await self._elsewhere(child, probe)
        hint = elsewhere and f"is not ready yet: {probe.failure}{elsewhere}"
        if hint in (self._hint, "") or self.state is State.DRAINING:
            return
        self._hint = hint
        _log.warning("%s: %s", self._job.name, hint)
        self._on_change()

    async def _elsewhere(self, child: Child, probe: Probe) -> str:
        """Where something of the process listens, if not where it was told to."""
        found = await child.listening() if self._job.told_its_port else ()
        others = [join_address(host, port) for host, port in found if port != probe.port]
        return f"; it listens on {', '.join(others[:MAX_ADDRESSES])}" if others else ""

    def _set(self, state: State) -> None:
        if self.state is not State.DRAINING:
            self.state = state
            self._on_change()


async def _ended_before(child: Child, drained: Awaitable[None]) -> None:
    """Return when it has nothing in hand, or has ended with it."""
    waits = [asyncio.ensure_future(drained), asyncio.ensure_future(child.wait())]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            wait.result()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
