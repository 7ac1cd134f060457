"""The backlog: a bounded slice of each turn for all sources together, in rotation, with other callbacks in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from fleet.runtime.backlog import MOST, SLICE_SECONDS, Backlog


class Clock:
    """A clock that advances by the given duration of each piece of work."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Worker:
    def __init__(self, clock: Clock, name: str, pieces: int, log: list[str], *, takes: float = SLICE_SECONDS / 3.5) -> None:
        self.clock, self.name, self.pieces, self.log, self.takes = clock, name, pieces, log, takes

    def catch_up(self) -> bool:
        self.log.append(self.name)
        self.clock.now += self.takes
        self.pieces -= 1
        return self.pieces > 0


async def turns(backlog: Backlog, log: list[str]) -> list[list[str]]:
    """The work done in each turn of the event loop until all was done."""
    done: list[list[str]] = []
    while backlog:
        before = len(log)
        await asyncio.sleep(0)
        done.append(log[before:])
    return [turn for turn in done if turn]


async def test_a_turn_has_one_slice_however_many_are_behind() -> None:
    clock, log = Clock(), list[str]()
    backlog = Backlog(clock)
    for number in range(100):
        backlog.add(Worker(clock, str(number), 3, log))
    done = await turns(backlog, log)
    assert {len(turn) for turn in done} == {4}
    assert Counter(log) == {str(number): 3 for number in range(100)}


async def test_few_that_take_no_time_are_let_go_in_a_turn() -> None:
    clock, log = Clock(), list[str]()
    backlog = Backlog(clock)
    for number in range(3 * MOST):
        backlog.add(Worker(clock, str(number), 1, log, takes=0.0))
    assert [len(turn) for turn in await turns(backlog, log)] == [MOST] * 3


async def test_each_has_a_part_before_any_has_two() -> None:
    clock, log = Clock(), list[str]()
    backlog = Backlog(clock)
    for name in "abcde":
        backlog.add(Worker(clock, name, 2, log))
    await turns(backlog, log)
    assert "".join(log) == "abcdeabcde"


async def test_a_long_part_ends_the_slice() -> None:
    clock, log = Clock(), list[str]()
    backlog = Backlog(clock)
    for name in "ab":
        backlog.add(Worker(clock, name, 2, log, takes=10 * SLICE_SECONDS))
    assert await turns(backlog, log) == [["a"], ["b"], ["a"], ["b"]]


async def test_nothing_is_scheduled_when_nobody_is_behind() -> None:
    clock, log = Clock(), list[str]()
    backlog = Backlog(clock)
    backlog.add(Worker(clock, "a", 1, log))
    await turns(backlog, log)
    assert not backlog._scheduled
    backlog.add(Worker(clock, "b", 1, log))
    await turns(backlog, log)
    assert log == ["a", "b"]


async def test_a_rest_between_slices_is_the_loops_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log, timers = Clock(), list[str](), list[tuple[float, Callable[[], None]]]()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda delay, callback: timers.append((delay, callback)))
    backlog = Backlog(clock, rest=0.5)
    backlog.add(Worker(clock, "a", 3, log, takes=SLICE_SECONDS))
    await asyncio.sleep(0)
    assert log == ["a"]  # the first runs at once
    backlog.add(Worker(clock, "b", 1, log, takes=0.0))
    for so_far in ("a", "aa"):
        await asyncio.sleep(0)
        assert "".join(log) == so_far
        ((delay, run),) = timers
        assert delay == 0.5
        timers.clear()
        run()
    assert "".join(log) == "aaba"
    assert not timers
