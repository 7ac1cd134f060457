"""The command that an app has run before its first replica: once for each definition of the app, to its end.

Decides whether replicas may start. How many there are, and what requests get meanwhile, is the app's business.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.discovery.sources import Trouble
from fleet.runtime.terminal import one_line
from weir.engine.backoff import Backoff
from weir.engine.beforespec import BeforeSpec
from weir.engine.child import Child, Launch, SpawnError, describe_exit
from weir.engine.error_line import KEPT_LINES, error_line
from weir.engine.held import Held
from weir.engine.ports import NoPortError, with_port
from weir.engine.spec import AppSpec
from weir.engine.supervisor import ProcessContext

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Before", "Needs"]

RETRY_FIRST, RETRY_LIMIT = 1.0, 60.0
"""Shortest and longest pause in seconds after a failure, in which requests are refused. The next request after it has the command
run again."""
LOOK_FIRST, LOOK_LIMIT = 0.02, 0.25
"""Shortest and longest pause in seconds between two checks whether the apps are ready that it needs."""
SHOWN_CHARACTERS = 80
"""Of a command in a message."""
SPEAKER = "before"
"""Stands in the app's log where replicas have their number."""

Needs = Callable[[], Mapping[str, Held | None]]
"""The apps that have to be awake while the command runs, by key; None for one that is to come."""

_log = logging.getLogger(__name__)


class _NeedError(Exception):
    """An app that is needed cannot start. The message is its reason."""


class Before:
    """Of one app. `on_change` is called on the loop's thread whenever `trouble` or the result of `passed` may have changed."""

    def __init__(
        self, spec: AppSpec, directory: Path, context: ProcessContext, needs: Needs, *, on_change: Callable[[], None]
    ) -> None:
        self.problem = ""
        """Why it has failed last; empty after a success, or a change of the definition."""
        self.failures = 0
        """In a row."""
        self.doing = ""
        """What is waited for while it runs; empty otherwise."""
        self._spec, self._generation = spec, 0
        self._base, self._context, self._needs, self._on_change = directory, context, needs, on_change
        self._done = False
        self._backoff = Backoff(RETRY_FIRST, RETRY_LIMIT)
        self._pause: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def refusal(self) -> str:
        """Why it has failed, for as long as it is not tried again; empty otherwise."""
        return "" if self._pause is None else self.problem

    @property
    def trouble(self) -> Trouble | None:
        """Why there is no replica yet because of it."""
        if self.doing:
            return Trouble(f"{self.doing}; last, {self.problem}" if self.problem else self.doing)
        return Trouble(self.problem, hopeless=bool(self.refusal)) if self.problem else None

    def define(self, spec: AppSpec, generation: int) -> None:
        """The app is as `spec` says from now on; `generation` counts its restarts by hand. If that makes another process, or
        another command, it is run again, and what runs of the earlier one is ended."""
        same = spec.same_process(self._spec) and spec.before == self._spec.before and generation == self._generation
        self._spec, self._generation = spec, generation
        if same:
            return
        self._done, self.problem, self.failures = False, "", 0
        self._backoff.reset()
        self._end_pause()
        self._end_run()

    def passed(self) -> bool:
        """Whether replicas may start. If not, the command is started, unless it runs, or pauses after a failure."""
        before = self._spec.before
        if before is None or self._done:
            return True
        if self._task is None and self._pause is None and not self._stopping:
            what = f"{self._spec.key}: before its first replica"
            self._task = task = self._context.tasks.create_task(self._live(self._spec, before), name=what)
            task.add_done_callback(self._ended)
        return False

    async def close(self) -> None:
        """End the command, if it runs: SIGTERM, and SIGKILL after the app's `grace`."""
        self._end_pause()
        task = self._task
        self._end_run()
        self._stopping = True  # nothing is started any more
        if task is not None:
            await asyncio.wait([task])

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _end_run(self) -> None:
        # Cancelled once only: a second time would interrupt what ends the process.
        if self._task is not None and not self._stopping:
            self._stopping = True
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self._task:  # it was cancelled
            self._task, self._stopping, self.doing = None, False, ""
            self._on_change()

    async def _live(self, spec: AppSpec, before: BeforeSpec) -> None:
        shown = _shown(before.command)
        began = asyncio.get_running_loop().time()
        with self._held(spec.key) as look:
            problem = await self._wait(before, shown, look)
            if not problem:
                self._do(f"{shown} runs before it starts")
                _log.info("%s: runs %s before it starts", spec.key, shown)
                problem = await self._run(spec, before)
                problem = f"{shown}, which runs before it starts, {problem}" if problem else ""
        self._task, self.doing = None, ""
        if problem:
            self._failed(spec, problem)
        else:
            _log.info("%s: %s has ended after %.1f s", spec.key, shown, asyncio.get_running_loop().time() - began)
            self._done, self.problem, self.failures = True, "", 0
        self._on_change()

    def _failed(self, spec: AppSpec, problem: str) -> None:
        pause = self._backoff.pause()
        self.problem = problem
        self.failures += 1
        self._pause = asyncio.get_running_loop().call_later(pause, self._pause_is_over)
        _log.warning("%s: %s; runs again at a request, after %g s at the earliest", spec.key, problem, pause)

    def _pause_is_over(self) -> None:
        self._pause = None
        self._on_change()

    def _do(self, what: str) -> None:
        if what != self.doing:
            self.doing = what
            self._on_change()

    @contextmanager
    def _held(self, key: str) -> Iterator[Callable[[], Mapping[str, Held | None]]]:
        """Looks for the apps that are needed, and keeps them awake to the end."""
        held: list[Held] = []

        def look() -> Mapping[str, Held | None]:
            found = self._needs()
            for one in found.values():
                if one is not None and one not in held:
                    held.append(one)
                    one.hold(key)
            return found

        try:
            yield look
        finally:
            for one in held:
                one.release(key)

    async def _wait(self, before: BeforeSpec, shown: str, look: Needs) -> str:
        """Until all that is needed is ready; returns what is wrong."""
        pauses, missing = Backoff(LOOK_FIRST, LOOK_LIMIT), ""
        try:
            async with asyncio.timeout(before.timeout):
                while missing := _not_ready(look()):
                    self._do(f"{shown} waits for {missing} before it runs")
                    await asyncio.sleep(pauses.pause())
        except _NeedError as error:
            return f"{shown} cannot run before it starts: {error}"
        except TimeoutError:
            return f"{shown} cannot run before it starts: {missing} was not ready within {before.timeout:g} s"
        return ""

    async def _run(self, spec: AppSpec, before: BeforeSpec) -> str:
        """Run it to its end; returns what is wrong."""
        ports, fixed = self._context.ports, spec.port
        try:
            port = ports.take() if fixed is None else fixed
        except NoPortError as error:
            return str(error)
        env = {name: with_port(value, port) for name, value in spec.env.items()} | {"PORT": str(port)}
        launch = Launch([with_port(word, port) for word in before.command], env=env, cwd=spec.directory(self._base))
        lines: deque[str] = deque(maxlen=KEPT_LINES)
        try:
            how = await self._child(spec, launch, before.timeout, lines)
        except SpawnError as error:
            return str(error)
        finally:
            if fixed is None:
                ports.give_back(port)
        line = error_line(lines)
        return f"{how}: {line}" if how and line else how

    async def _child(self, spec: AppSpec, launch: Launch, timeout: float, lines: deque[str]) -> str:  # noqa: ASYNC109
        def keep(new: Sequence[str]) -> None:
            lines.extend(new)
            self._context.tell(f"{spec.name}/{SPEAKER}", new)

        context = self._context
        child = Child(launch, context.reaper, on_lines=keep, has_room=context.has_room, behind=context.behind)
        code = None
        try:
            async with asyncio.timeout(timeout):
                code = await child.wait()
        except TimeoutError:
            return f"took longer than {timeout:g} s"
        finally:
            await _to_the_end(child.stop(spec.grace) if code is None else child.kill())
        return f"ended with {describe_exit(code)}" if code else ""


async def _to_the_end(work: Coroutine[None, None, None]) -> None:
    """Also when the caller is cancelled meanwhile, because processes would be left."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _not_ready(needed: Mapping[str, Held | None]) -> str:
    """Those that are not ready, for people. Raises _NeedError if one has failed for good."""
    for key, one in needed.items():
        if one is not None and (trouble := one.trouble) is not None and trouble.hopeless:
            raise _NeedError(f"{_name(key)}, which it needs, does not start: {trouble.reason}")
    return ", ".join(_name(key) for key, one in needed.items() if one is None or not one.is_ready())


def _name(key: str) -> str:
    return key.partition("/")[2]


def _shown(command: Sequence[str]) -> str:
    """The command as it was written, or the beginning of it."""
    line = command[2] if tuple(command[:2]) == ("/bin/sh", "-c") and len(command) == 3 else shlex.join(command)
    text = one_line(line).strip()
    return f'"{text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"}"'
