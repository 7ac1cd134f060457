"""An event loop with a manual clock, and playbooks for code that only waits on the loop: sleeps, time limits, tasks.

Lines that begin with ">" are inputs, as verbs of a stage, and lines that begin with "<" are expected outputs. Nothing sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVar

__all__ = ["ManualLoop", "TimeStage", "play_in_time"]

S = TypeVar("S", bound="TimeStage")


class ManualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0. Scheduled calls run when `pass_until` has reached their time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._due: list[float] = []

    def time(self) -> float:
        return self.now

    def call_at(  # type: ignore[override]  # its arguments are the loop's business
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        heappush(self._due, when)
        return super().call_at(when, callback, *args, context=context)

    async def pass_until(self, then: float) -> None:
        """Move the time, stopping at each time at which something is due, and run what that schedules."""
        while self._due and self._due[0] <= then:
            self.now = max(self.now, heappop(self._due))
            await self.settle()
        self.now = then
        await self.settle()

    async def settle(self) -> None:
        """Run everything that does not have to wait."""
        for _ in range(8):
            await asyncio.sleep(0)


class TimeStage:
    """The object that a playbook controls. Its verbs may be coroutines."""

    def __init__(self, loop: ManualLoop) -> None:
        self.loop = loop
        self.outputs: list[str] = []

    def clock(self) -> float:
        return self.loop.now

    async def at(self, seconds: str) -> None:
        """Set the time."""
        await self.loop.pass_until(float(seconds))

    async def end(self) -> None:
        """Called after the last line: no task may still be running."""


def play_in_time(make: Callable[[ManualLoop], S], script: str) -> S:
    """Run a playbook. Fails at the first expected line that is missing or different."""

    async def run() -> S:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ManualLoop)
        stage = make(loop)
        loop.set_exception_handler(lambda _, context: stage.outputs.append(f"failed: {context.get('exception', context)!r}"))
        for number, line in enumerate(each.strip() for each in script.strip().splitlines()):
            kind, _, text = line.partition(" ")
            if kind == ">":
                assert stage.outputs == [], f"{stage.outputs} came before {line!r}"
                verb, *words = text.split(" ")
                done = getattr(stage, verb)(*words)
                if asyncio.iscoroutine(done):
                    await done
                await loop.settle()
            elif kind == "<":
                assert stage.outputs, f"{text!r} did not come"
                assert stage.outputs.pop(0) == text, f"line {number + 1}"
        assert stage.outputs == [], f"{stage.outputs} came last"
        await stage.end()
        return stage

    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        return runner.run(run())
