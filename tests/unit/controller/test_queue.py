import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.queue import WorkQueue
from controller.schedule import CHANGED_PAUSE_SECONDS, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Schedule
from fleet.discovery.sources import SourceError


def longest(_: float, most: float) -> float:
    return most


def test_asked_for_twice_is_done_once() -> None:
    schedule = Schedule[str]()
    schedule.add("a", 1.0)
    schedule.add("a", 5.0)
    assert schedule.take(0.5) is None
    assert schedule.next_due() == 1.0
    assert schedule.take(1.0) == "a"
    schedule.done("a", 1.0)
    assert schedule.take(10.0) is None
    assert len(schedule) == 0


def test_what_is_news_comes_before_what_was_to_wait() -> None:
    schedule = Schedule[str]()
    schedule.add("a", 9.0)
    schedule.add("a", 1.0)
    assert schedule.take(1.0) == "a"
    schedule.done("a", 1.0)
    assert schedule.next_due() is None


def test_a_key_is_worked_on_by_one_and_comes_again() -> None:
    schedule = Schedule[str]()
    schedule.add("a", 0.0)
    assert schedule.take(0.0) == "a"
    schedule.add("a", 0.0)
    assert schedule.take(0.0) is None
    schedule.done("a", 0.0)
    assert schedule.take(0.0) == "a"


def test_failures_back_off() -> None:
    schedule = Schedule[str](uniform=longest)
    schedule.add("a", 0.0)
    now, pauses = 0.0, []
    for _ in range(12):
        assert schedule.take(now) == "a"
        schedule.done("a", now, failed=True)
        due = schedule.next_due()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses[:3] == pytest.approx([FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS])
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_SECONDS)
    assert schedule.failing == 1


def test_news_shortens_a_pause_but_makes_no_hot_loop() -> None:
    schedule = Schedule[str](uniform=longest)
    now = 0.0
    schedule.add("a", now)
    for attempt in range(10):
        assert schedule.take(now) == "a"
        if attempt % 2:
            schedule.add("a", now)
        schedule.done("a", now, failed=True)
        schedule.add("a", now)
        due = schedule.next_due()
        assert due is not None
        assert due - now == pytest.approx(min(FIRST_PAUSE_SECONDS * 2**attempt, CHANGED_PAUSE_SECONDS))
        now = due
    assert schedule.take(now) == "a"
    schedule.done("a", now)
    assert schedule.failing == 0
    schedule.add("a", now)
    assert schedule.take(now) == "a"


def test_a_later_look_that_is_planned_does_not_put_off_a_retry() -> None:
    schedule = Schedule[str](uniform=longest)
    schedule.add("a", 0.0)
    assert schedule.take(0.0) == "a"
    schedule.add("a", 300.0)
    schedule.done("a", 0.0, failed=True)
    assert schedule.next_due() == pytest.approx(FIRST_PAUSE_SECONDS)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans()), max_size=40))
def test_nothing_is_lost_and_nobody_is_worked_on_twice_at_once(steps: list[tuple[str, int, bool]]) -> None:
    schedule = Schedule[str](uniform=longest)
    running: set[str] = set()
    wanted: set[str] = set()
    now = 0.0
    for key, pause, finish in steps:
        schedule.add(key, now + pause)
        wanted.add(key)
        now += 1
        taken = schedule.take(now)
        if taken is not None:
            assert taken not in running
            running.add(taken)
            wanted.discard(taken)
        if finish and running:
            done = running.pop()
            schedule.done(done, now)
    for key in sorted(running):
        schedule.done(key, now)
    while (taken := schedule.take(now + 100)) is not None:
        wanted.discard(taken)
        schedule.done(taken, now + 100)
    assert not wanted


class Work:
    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.done: list[str] = []
        self.running: set[str] = set()
        self.most = 0
        self.fail: set[str] = set()
        self.changed = asyncio.Event()

    async def __call__(self, key: str) -> None:
        assert key not in self.running
        self.running.add(key)
        self.changed.set()
        self.most = max(self.most, len(self.running))
        try:
            await self.gate.wait()
            if key in self.fail:
                raise SourceError("no")
        finally:
            self.running.discard(key)
            self.done.append(key)
            self.changed.set()

    async def until_running(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.running) < count:
                self.changed.clear()
                await self.changed.wait()

    async def until(self, *done: str) -> None:
        async with asyncio.timeout(60):
            while sorted(self.done) != sorted(done):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def working(work: Work, workers: int) -> AsyncIterator[WorkQueue[str]]:
    queue = WorkQueue[str](work, workers=workers, name="test")
    queue.start()
    try:
        yield queue
    finally:
        await queue.close()


async def test_keys_are_worked_on_side_by_side_each_by_one() -> None:
    work = Work()
    work.gate.clear()
    async with working(work, 3) as queue:
        for key in "abcabcd":
            queue.add(key)
        await work.until_running(3)
        queue.add("a")
        work.gate.set()
        await work.until("a", "a", "b", "c", "d")
        assert work.most == 3


async def test_one_that_fails_keeps_nobody_waiting_and_is_tried_again() -> None:
    work = Work()
    work.fail = {"bad"}
    async with working(work, 1) as queue:
        queue.add("bad")
        queue.add("good")
        await work.until("bad", "good")
        assert queue.failing == 1
        work.fail.clear()
        await work.until("bad", "bad", "good")
