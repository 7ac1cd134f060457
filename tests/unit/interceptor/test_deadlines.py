"""Deadlines in buckets, on a manual clock: nothing is late by more than a tick, nothing is called too early or twice."""

from __future__ import annotations

import contextlib
from random import Random

from interceptor.core.deadlines import HORIZON, NEVER, Deadlines

TICK = 0.1


class Thing:
    def __init__(self, deadline: float = NEVER) -> None:
        self.deadline = deadline
        self.bucket = 0
        self.asked: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.asked.append(now)
        self.deadline = NEVER


def sweep(deadlines: Deadlines, start: float, end: float) -> None:
    steps = round((end - start) / TICK)
    for step in range(1, steps + 1):
        deadlines.sweep(start + step * TICK)


def test_asked_once_after_the_deadline_and_within_two_ticks() -> None:
    deadlines = Deadlines(TICK, now=100.0)
    thing = Thing(100.55)
    deadlines.watch(thing)
    sweep(deadlines, 100.0, 103.0)
    (asked,) = thing.asked
    assert 100.55 <= asked <= 100.55 + 2 * TICK
    assert (len(deadlines), thing.bucket) == (0, 0)


def test_without_a_limit_nothing_is_watched() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    deadlines.watch(Thing())
    assert len(deadlines) == 0


def test_a_later_deadline_needs_no_call() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    thing = Thing(1.0)
    deadlines.watch(thing)
    thing.deadline = 2.0
    sweep(deadlines, 0.0, 1.8)
    assert thing.asked == []
    sweep(deadlines, 1.8, 2.3)
    assert len(thing.asked) == 1


def test_an_earlier_deadline_moves() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    thing = Thing(4.0)
    deadlines.watch(thing)
    thing.deadline = 1.0
    deadlines.watch(thing)
    sweep(deadlines, 0.0, 1.3)
    assert len(thing.asked) == 1
    assert len(deadlines) == 0


def test_one_beyond_the_horizon_is_looked_at_within_it() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    thing = Thing(1000.0)
    deadlines.watch(thing)
    thing.deadline = HORIZON + 0.5  # earlier, without a call of `watch`
    sweep(deadlines, 0.0, HORIZON + 1.0)
    assert len(thing.asked) == 1


def test_what_is_forgotten_is_not_asked() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    things = [Thing(1.0), Thing(1.0)]
    for thing in things:
        deadlines.watch(thing)
    deadlines.forget(things[0])
    deadlines.forget(things[0])
    sweep(deadlines, 0.0, 2.0)
    assert [len(thing.asked) for thing in things] == [0, 1]


def test_one_may_forget_another_while_it_is_asked() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    things: list[Thing] = []

    class Jealous(Thing):
        def on_deadline(self, now: float) -> None:
            super().on_deadline(now)
            for other in things:
                if other is not self:
                    deadlines.forget(other)

    things += [Jealous(1.0), Jealous(1.0)]
    for thing in things:
        deadlines.watch(thing)
    sweep(deadlines, 0.0, 2.0)
    assert sum(len(thing.asked) for thing in things) == 1
    assert len(deadlines) == 0


def test_one_may_watch_itself_again() -> None:
    deadlines = Deadlines(TICK, now=0.0)

    class Again(Thing):
        def on_deadline(self, now: float) -> None:
            self.asked.append(now)
            self.deadline = now + 1.0
            deadlines.watch(self)

    thing = Again(1.0)
    deadlines.watch(thing)
    sweep(deadlines, 0.0, 5.0)
    assert len(thing.asked) == 4


def test_a_long_stall_asks_all_that_is_due() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    things = [Thing(at * 0.7) for at in range(1, 8)]
    for thing in things:
        deadlines.watch(thing)
    deadlines.sweep(1000.0)
    assert all(len(thing.asked) == 1 for thing in things)


def test_a_deadline_in_the_past_is_asked_at_the_next_tick() -> None:
    deadlines = Deadlines(TICK, now=50.0)
    thing = Thing(1.0)
    deadlines.watch(thing)
    sweep(deadlines, 50.0, 50.3)
    assert len(thing.asked) == 1


def test_random_deadlines_are_never_early_and_never_late() -> None:
    rng = Random(7)
    deadlines = Deadlines(TICK, now=0.0)
    things = [Thing(rng.random() * 20) for _ in range(500)]
    wanted = [thing.deadline for thing in things]
    for thing in things:
        deadlines.watch(thing)
    sweep(deadlines, 0.0, 21.0)
    for thing, deadline in zip(things, wanted, strict=True):
        (asked,) = thing.asked
        assert deadline <= asked <= deadline + 2 * TICK + 1e-6


def test_many_due_objects_are_called_in_parts_the_oldest_first() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    late = [Thing(2.0) for _ in range(50)]
    early = [Thing(1.0) for _ in range(50)]
    for thing in late + early:
        deadlines.watch(thing)
    assert [deadlines.sweep(3.0, most=30) for _ in range(4)] == [False, False, False, True]
    assert all(len(thing.asked) == 1 for thing in late + early)
    assert len(deadlines) == 0

    for thing in late + early:
        thing.deadline = 5.0 if thing in late else 4.0
        thing.asked.clear()
        deadlines.watch(thing)
    assert not deadlines.sweep(6.0, most=50)
    assert [len(thing.asked) for thing in early] == [1] * 50
    assert not any(thing.asked for thing in late)


def test_those_that_are_not_due_yet_take_no_part() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    moved = [Thing(1.0) for _ in range(50)]
    for thing in moved:
        deadlines.watch(thing)
        thing.deadline = 3.0
    assert deadlines.sweep(2.0, most=1)
    assert not deadlines.sweep(4.0, most=1)


def test_between_two_parts_things_come_and_go() -> None:
    deadlines = Deadlines(TICK, now=0.0)
    things = [Thing(1.0) for _ in range(10)]
    for thing in things:
        deadlines.watch(thing)
    assert not deadlines.sweep(2.0, most=1)
    left = [thing for thing in things if not thing.asked]
    for thing in left[:4]:
        deadlines.forget(thing)
    left[4].deadline = 2.5  # it moved on
    new = Thing(0.5)
    deadlines.watch(new)
    assert deadlines.sweep(2.0, most=100)
    assert [len(thing.asked) for thing in left] == [0] * 5 + [1] * 4
    assert deadlines.sweep(2.8, most=100)
    assert len(left[4].asked) == len(new.asked) == 1
    assert len(deadlines) == 0


def test_the_fault_of_one_leaves_the_others_theirs() -> None:
    deadlines = Deadlines(TICK, now=0.0)

    class Faulty(Thing):
        def on_deadline(self, now: float) -> None:
            raise RuntimeError

    things = [Faulty(1.0), *(Thing(1.0) for _ in range(9))]
    for thing in things:
        deadlines.watch(thing)
    for _ in range(2):
        with contextlib.suppress(RuntimeError):
            deadlines.sweep(2.0)
    assert [len(thing.asked) for thing in things] == [0] + [1] * 9
