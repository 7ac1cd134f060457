"""The clock of an app's schedules, on a manual loop and a manual wall clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fleet.schedules.declared import schedule_of
from fleet.schedules.windows import Minimum, Schedule
from tests.support.manual_loop import ManualLoop, TimeStage, play_in_time
from weir.engine.schedule import ScheduleClock

BEGAN = datetime(2026, 11, 27, 6, 59, tzinfo=UTC).timestamp()
"""A minute before eight in Berlin, on a Friday."""


def office(end: str = "18") -> Schedule:
    return schedule_of(start="0 8 * * 1-5", end=f"0 {end} * * 1-5", timezone="Europe/Berlin", replicas=2)


class Stage(TimeStage):
    def __init__(self, loop: ManualLoop) -> None:
        super().__init__(loop)
        self.ahead = 0.0
        """By how much the wall clock has been set."""
        self.clock_of = ScheduleClock(self._on_change, wall=lambda: BEGAN + loop.now + self.ahead)
        self.last = (-1, "")

    def _on_change(self, minimum: Minimum) -> None:
        now = minimum.replicas, self.clock_of.reason
        if now != self.last:
            self.last = now
            self.outputs.append(f"{now[0]} {now[1]}".strip())

    def follow(self, *ends: str) -> None:
        self.clock_of.follow([office(end) for end in ends])

    def set(self, hours: str) -> None:
        self.ahead += 3600 * float(hours)

    def stop(self) -> None:
        self.clock_of.stop()

    async def end(self) -> None:
        self.clock_of.stop()
        await self.loop.pass_until(self.loop.now + 7 * 24 * 3600)
        assert asyncio.all_tasks(self.loop) == {asyncio.current_task(self.loop)}


def test_it_begins_and_ends_to_the_second() -> None:
    play_in_time(
        Stage,
        """
        > follow 18
        < 0
        > at 59.9
        > at 60
        < 2 schedule until 18:00
        > at 36059
        > at 36060
        < 0
        """,
    )


def test_other_schedules_hold_at_once() -> None:
    play_in_time(
        Stage,
        """
        > follow 18
        < 0
        > at 100
        < 2 schedule until 18:00
        > follow 12
        < 2 schedule until 12:00
        > follow
        < 0
        > at 20000
        """,
    )


def test_a_clock_that_is_set_is_noticed() -> None:
    play_in_time(
        Stage,
        """
        > follow 18
        < 0
        > at 10
        > set 3
        > at 31
        < 2 schedule until 18:00
        > set -3
        > at 61
        > at 62
        > set 24
        > at 92
        < 0
        """,
    )


def test_nothing_comes_once_it_is_stopped() -> None:
    play_in_time(
        Stage,
        """
        > follow 18
        < 0
        > stop
        > at 100
        """,
    )
