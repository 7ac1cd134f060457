"""What wakes one after the other, and when a dependency is suggested because of that."""

from __future__ import annotations

import pytest

from fleet.demand.companions import AFTER_SECONDS, LONGEST_SECONDS, TOGETHER_SECONDS
from fleet.demand.pair import LEAST_WAKES, MOST_WAKES
from fleet.demand.suggestion import Suggestion
from tests.support.companions import START, World, times


def test_what_follows_every_wake_is_suggested_after_enough_of_them() -> None:
    world = World()
    times(LEAST_WAKES - 1, lambda: world.chain("a/web", "a/api"))
    assert (world.suggested(), world.changes) == ([], [])
    world.chain("a/web", "a/api")
    assert world.suggested() == [("a/api", 100, False)]
    assert world.suggested("a/api") == [], "what is called does not need its caller"
    assert world.companions.suggestions("a/web") == (Suggestion("a/api", 100),)
    assert [*world.companions.suggesting()] == ["a/web"]
    assert set(world.changes) == {"a/web", "a/api"}, "looked at again with enough wakes, and with a suggestion"
    before = len(world.changes)
    times(100, lambda: world.chain("a/web", "a/api"))
    assert len(world.changes) == before, "more of the same changes nothing"


def test_a_chain_is_suggested_link_by_link() -> None:
    world = World()
    times(LEAST_WAKES, lambda: world.chain("a/web", "a/api", "a/db"))
    assert world.suggested() == [("a/api", 100, False)]
    assert world.suggested("a/api") == [("a/db", 100, False)]
    quick = World()
    for _ in range(LEAST_WAKES):  # so quick that the last wakes while the first one is still open
        for app in ("a/web", "a/api", "a/db"):
            quick.wake(app)
            quick.now += 0.2
            quick.ready(app)
            quick.now += 0.1
        quick.sleep("a/web", "a/api", "a/db")
    assert quick.suggested() == [("a/api", 100, False)], "with api comes db"
    assert quick.suggested("a/api") == [("a/db", 100, False)]


def test_a_fan_is_suggested_at_once() -> None:
    world = World()

    def fan() -> None:
        world.wake("a/web")
        world.now += START
        world.ready("a/web")
        world.wake("a/api", "a/log", gap=0.3)
        world.now += START
        world.ready("a/api", "a/log")
        world.sleep("a/web", "a/api", "a/log")

    times(LEAST_WAKES, fan)
    assert world.suggested() == [("a/api", 100, False), ("a/log", 100, False)]


@pytest.mark.parametrize(
    ("gap", "is_suggested"),
    [(-START, True), (-1.0, True), (0.0, True), (AFTER_SECONDS - 0.1, True), (AFTER_SECONDS + 0.1, False), (60.0, False)],
)
def test_only_what_wakes_soon_has_followed(gap: float, is_suggested: bool) -> None:
    """`gap` is from the moment at which it is ready: it may call others while it starts."""
    world = World()

    def one() -> None:
        world.wake("a/web")
        if gap < 0:
            world.now += max(START + gap, 2 * TOGETHER_SECONDS)
            world.wake("a/api")
        world.now += START
        world.ready("a/web")
        if gap >= 0:
            world.now += gap
            world.wake("a/api")
        world.now += START
        world.ready("a/api")
        world.sleep("a/web", "a/api")

    times(2 * LEAST_WAKES, one)
    assert world.suggested() == ([("a/api", 100, False)] if is_suggested else [])


@pytest.mark.parametrize(("missed", "shown"), [(0, [("a/api", 100, False)]), (2, [("a/api", 90, False)]), (3, []), (10, [])])
def test_nearly_every_wake_has_to_be_followed(missed: int, shown: list[tuple[str, int, bool]]) -> None:
    world = World()
    world.chain("a/web", "a/api")
    times(missed, lambda: world.alone("a/web"))
    times(19 - missed, lambda: world.chain("a/web", "a/api"))
    assert world.suggested() == shown


@pytest.mark.parametrize(("own", "is_suggested"), [(2, True), (4, False), (50, False)])
def test_most_wakes_of_the_other_one_have_to_follow(own: int, is_suggested: bool) -> None:
    """What has requests of its own all day would be kept awake for nothing that it saves."""
    world = World()
    world.chain("a/web", "a/api")
    times(own, lambda: world.alone("a/api"))
    times(LEAST_WAKES, lambda: world.chain("a/web", "a/api"))
    assert bool(world.suggested()) is is_suggested


def test_what_was_awake_already_says_nothing() -> None:
    world = World()
    for number in range(3 * LEAST_WAKES):
        if number % 3:  # the other one is still awake
            world.wake("a/web")
            world.now += START
            world.ready("a/web")
            world.sleep("a/web")
        else:
            world.sleep("a/api")
            world.wake("a/web")
            world.now += START
            world.ready("a/web")
            world.wake("a/api")
            world.now += START
            world.ready("a/api")
            world.sleep("a/web")
    assert world.suggested() == [("a/api", 100, False)]


def test_it_is_withdrawn_late_and_comes_back_late() -> None:
    world = World()
    times(MOST_WAKES, lambda: world.chain("a/web", "a/api"))
    assert world.suggested()
    shown = [world.suggested()]
    for _ in range(9):
        world.alone("a/web")
        shown.append(world.suggested())
    kept = [each for each in shown if each]
    assert len(kept) == 9, "with 24 of 32 it is still suggested, with 23 not"
    assert kept[-1] == [("a/api", 75, False)]
    assert world.suggested() == []
    times(5, lambda: world.chain("a/web", "a/api"))
    assert world.suggested() == [], "three of four are not enough to suggest it anew"
    times(MOST_WAKES, lambda: world.chain("a/web", "a/api"))
    assert world.suggested()


def test_it_is_withdrawn_when_the_other_one_wakes_by_itself() -> None:
    world = World()
    times(MOST_WAKES, lambda: world.chain("a/web", "a/api"))
    times(9, lambda: world.alone("a/api"))
    assert world.suggested() == []


def test_what_is_shown_changes_seldom() -> None:
    """Each change is a write of a status."""
    world = World()
    times(MOST_WAKES, lambda: world.chain("a/web", "a/api"))
    world.changes.clear()
    for _ in range(20):  # about nine of ten, for ever
        times(9, lambda: world.chain("a/web", "a/api"))
        world.alone("a/web")
    assert len(world.changes) <= 3
    assert world.suggested()[0][1] in (90, 95)


def test_wakes_at_the_same_moment_have_no_order() -> None:
    world = World()

    def both(first: str, second: str) -> None:
        world.wake(first, second, gap=TOGETHER_SECONDS / 2)
        world.now += START
        world.ready(first, second)
        world.sleep(first, second)

    for _ in range(LEAST_WAKES // 2):
        both("a/web", "a/api")
        both("a/api", "a/web")
    assert world.suggested() == [("a/api", 100, True)]
    assert world.suggested("a/api") == [("a/web", 100, True)]
    world.changes.clear()
    times(MOST_WAKES, lambda: world.chain("a/web", "a/api"))
    assert world.suggested() == [("a/api", 100, False)]
    assert world.suggested("a/api") == [], "no wake of it is followed any more"
    assert sorted(world.changes) == ["a/api", "a/web"], "each changes once"


def test_a_wake_after_it_was_ready_follows_however_quick_that_was() -> None:
    world = World()

    def quick() -> None:
        world.wake("a/web")
        world.now += TOGETHER_SECONDS / 4
        world.ready("a/web")
        world.now += TOGETHER_SECONDS / 4
        world.wake("a/api")
        world.ready("a/api")
        world.sleep("a/web", "a/api")

    times(LEAST_WAKES, quick)
    assert world.suggested() == [("a/api", 100, False)]


@pytest.mark.parametrize("asked", [("a/web",), ("a/api",), ()])
def test_wakes_without_a_request_say_nothing(asked: tuple[str, ...]) -> None:
    """A schedule wakes many at once, or one by one."""
    world = World()

    def scheduled() -> None:
        world.wake("a/web", asked="a/web" in asked)
        world.now += START
        world.ready("a/web")
        world.wake("a/api", asked="a/api" in asked)
        world.now += START
        world.ready("a/api")
        world.sleep("a/web", "a/api")

    times(MOST_WAKES, scheduled)
    assert (world.suggested(), world.suggested("a/api")) == ([], [])


def test_one_that_never_becomes_ready_has_called_nothing() -> None:
    world = World()

    def failed() -> None:
        world.wake("a/web")
        world.now += 1.0
        world.wake("a/api")
        world.now += START
        world.ready("a/api")
        world.sleep("a/web", "a/api")

    times(MOST_WAKES, failed)
    assert world.suggested() == []
    world.wake("a/web")
    world.now += LONGEST_SECONDS + 1
    world.wake("a/api")
    world.ready("a/web", "a/api")
    assert not world.companions.knows("a/web")


def test_what_is_declared_is_not_suggested() -> None:
    world = World({"a/web": ["a/api"]})
    times(MOST_WAKES, lambda: world.chain("a/web", "a/api"))
    assert (world.suggested(), world.suggested("a/api")) == ([], [])
    later = World()
    times(MOST_WAKES, lambda: later.chain("a/web", "a/api"))
    assert later.suggested()
    later.table.needs["a/web"] = {"a/api"}
    assert later.suggested() == []
    later.table.needs = {"a/web": {"a/edge"}, "a/edge": {"a/api"}}
    assert later.suggested() == [], "nor what is reached through another one"
    later.table.needs = {"a/api": {"a/web"}}
    assert later.suggested() == [], "nor what would close a circle"
    later.table.needs = {}
    assert later.suggested()


def test_what_a_declaration_leads_to_is_suggested_where_it_is_called() -> None:
    world = World()
    for _ in range(LEAST_WAKES):
        for app in ("a/web", "a/api", "a/db"):
            world.wake(app)
            world.now += 0.2
            world.ready(app)
        world.sleep("a/web", "a/api", "a/db")
    world.table.needs = {"a/web": {"a/api"}}
    assert world.suggested() == []
    assert world.suggested("a/api") == [("a/db", 100, False)]
    world.table.needs = {"a/api": {"a/db"}}
    assert world.suggested() == [("a/api", 100, False)], "which then brings db"


@pytest.mark.parametrize("first", ["a/edge", "a/web"])
def test_what_wakes_by_a_declaration_says_nothing_of_others(first: str) -> None:
    """An edge that needs both wakes them at the same moment, in whatever order that is heard of."""
    world = World({"a/edge": ["a/web", "a/api"]})

    def together() -> None:
        rest = [app for app in ("a/edge", "a/web", "a/api") if app != first]
        world.wake(first, *rest, gap=0.01)
        world.now += START
        world.ready("a/edge", "a/web", "a/api")
        world.sleep("a/edge", "a/web", "a/api")

    times(MOST_WAKES, together)
    assert [world.suggested(app) for app in ("a/edge", "a/web", "a/api")] == [[], [], []]


def test_wakes_by_a_declaration_do_not_count_against_a_suggestion() -> None:
    world = World({"a/edge": ["a/web", "a/api"]})
    for _ in range(MOST_WAKES):
        world.wake("a/edge", "a/web", "a/api", gap=0.01)
        world.now += START
        world.ready("a/edge", "a/web", "a/api")
        world.sleep("a/edge", "a/web", "a/api")
        world.chain("a/web", "a/api")
    assert world.suggested() == [("a/api", 100, False)]
    assert world.suggested("a/edge") == []


def test_namespaces_have_nothing_to_do_with_each_other() -> None:
    world = World()
    times(MOST_WAKES, lambda: world.chain("a/web", "b/api"))
    assert (world.suggested("a/web"), world.suggested("b/api")) == ([], [])


def test_what_is_heard_late_is_put_where_it_belongs() -> None:
    late = 3.0

    def wake(world: World, delay: float, at: float | None) -> None:
        world.companions.woke("a/web", world.now)
        world.now += START
        world.ready("a/web")
        begun, world.now = world.now + 1.0, world.now + 1.0 + delay
        world.companions.woke("a/api", world.now, at=begun if at is not None else None)
        world.now += START
        world.ready("a/api")
        world.sleep("a/web", "a/api")

    for delay, at, expected in ((late, None, True), (late, 1.0, True), (late + 2.0, None, False)):
        world = World(late=late)
        for _ in range(LEAST_WAKES):
            wake(world, delay, at)
        assert bool(world.suggested()) is expected, (delay, at)


def test_a_wake_cannot_have_begun_before_it_slept() -> None:
    world = World()
    for _ in range(LEAST_WAKES + 1):  # of the first nothing is known before
        world.companions.woke("a/api", world.now, at=world.now - 1000.0)
        world.wake("a/web")
        world.now += START
        world.ready("a/web", "a/api")
        world.sleep("a/web", "a/api")
    assert world.suggested() == [("a/api", 100, True)]


def test_a_forgotten_one_is_not_suggested() -> None:
    world = World()
    times(MOST_WAKES, lambda: world.chain("a/web", "a/api"))
    world.changes.clear()
    world.companions.forget("a/api")
    assert (world.suggested(), world.changes) == ([], ["a/web"])
    world.wake("a/web", "a/api", gap=0.01)
    world.companions.forget("a/api")
    world.ready("a/web")
    world.sleep("a/web")
    world.companions.forget("a/web")
    world.companions.forget("a/unknown")
    world.companions.forget("unknown/web")
    assert not world.companions._groups
    assert world.suggested() == []


def test_events_of_what_has_not_woken_are_nothing() -> None:
    world = World()
    world.ready("a/web")
    world.sleep("a/web")
    world.wake("a/web")
    world.wake("a/web")  # without an end between
    world.ready("a/web")
    world.ready("a/web")
    assert world.suggested() == []
