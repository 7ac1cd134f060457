"""However many applications wake, and whatever is heard of them: few are kept, and it takes as long as there are wakes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.demand import companions as module
from fleet.demand.companions import LONGEST_SECONDS, MAX_OPEN, MAX_PAIRS, MAX_PAIRS_OF_APP
from fleet.demand.pair import LEAST_WAKES, MOST_WAKES
from tests.support.companions import World, times
from tests.support.full import examples
from tests.support.growth import STEP, count, grows


def group(world: World) -> module._Group:
    return world.companions._groups["a"]


def test_one_application_has_few_pairs() -> None:
    world = World()
    for number in range(200):
        world.chain("a/web", f"a/x{number}")
        world.chain(f"a/y{number}", "a/api")
    assert len(group(world).apps["a/web"].targets) <= MAX_PAIRS_OF_APP
    assert len(group(world).apps["a/api"].roots) <= MAX_PAIRS_OF_APP
    times(2 * MOST_WAKES, lambda: world.chain("a/web", "a/api"))
    assert world.suggested() == [("a/api", 100, False)], "what is seldom makes room"


def test_a_wake_after_which_all_wake_is_bounded() -> None:
    world = World()
    world.wake("a/web")
    world.ready("a/web")
    for number in range(1000):
        world.companions.woke(f"a/x{number}", world.now, asked=True)
    assert max(len(one.followed) for one in group(world)._waking.values()) <= 2 * MAX_PAIRS_OF_APP
    assert len(group(world)._ready["a/web"].followed) <= 2 * MAX_PAIRS_OF_APP


def test_a_namespace_of_many_applications_is_bounded_and_linear() -> None:
    """A tenant may make as many objects as he likes, and hold a request at each of them again and again."""

    def make(count: int) -> Callable[[], None]:
        apps = [f"a/x{number}" for number in range(count)]
        return partial(_hold_each, World(), apps)

    few, more, many = 25, 25 * STEP, 25 * STEP * STEP
    assert count(make(more)) < 1.5 * STEP * count(make(few))
    assert grows(make, (few, more, many)) is None, "what instructions do not show: a loop in C"


def _hold_each(world: World, apps: list[str]) -> None:
    for _ in range(2):
        for app in apps:
            world.companions.woke(app, world.now)
            world.now += 0.001
        for app in apps:
            world.companions.ready(app, world.now)
            world.now += 0.001
        for app in apps:
            world.companions.slept(app, world.now)
        world.now += 10.0
    found = group(world)
    assert len(found._pairs) <= MAX_PAIRS
    assert len(found._waking) + len(found._ready) <= MAX_OPEN
    assert sum(len(state.targets) for state in found.apps.values()) == len(found._pairs)
    assert sum(len(state.roots) for state in found.apps.values()) == len(found._pairs)


def test_no_more_pairs_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 4)
    world = World()
    times(LEAST_WAKES, lambda: world.chain("a/web", "a/api"))
    for number in range(20):
        world.chain(f"a/x{number}", f"a/y{number}")
        world.chain("a/web", "a/api")
    assert len(group(world)._pairs) == 4
    assert world.suggested() == [("a/api", 100, False)], "what was not followed for longest makes room"
    world.changes.clear()
    for number in range(4):
        world.chain(f"a/x{number}", f"a/y{number}")
    assert (world.suggested(), "a/web" in world.changes) == ([], True)


def test_open_wakes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 3)
    world = World()
    world.wake(*(f"a/x{number}" for number in range(10)), gap=0.01)
    assert len(group(world)._waking) == 3
    world.now += LONGEST_SECONDS
    world.ready("a/x0")
    assert not group(world)._waking
    times(LEAST_WAKES, lambda: world.chain("a/web", "a/api"))
    assert world.suggested()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["woke", "asleep", "ready", "slept", "forget", "unasked"]),
        st.sampled_from([f"a/{letter}" for letter in "abcdefghijkl"]),
        st.sampled_from([0.0, 0.01, 0.5, 1.9, 3.0, 700.0]),
    ),
    max_size=300,
)


@given(STEPS)
@settings(max_examples=examples(200), deadline=None)
def test_whatever_is_heard_the_books_agree(steps: list[tuple[str, str, float]]) -> None:
    world = World({"a/a": ["a/b"], "a/b": ["a/c"], "a/d": ["a/c"]}, late=0.0)
    for verb, app, seconds in steps:
        world.now += seconds
        if verb in ("woke", "unasked"):
            world.companions.woke(app, world.now, asked=verb == "woke")
        elif verb == "asleep":
            world.companions.woke(app, world.now, at=world.now - 2.5)
        else:
            act = {"ready": world.companions.ready, "slept": world.companions.slept}.get(verb)
            if act is None:
                world.companions.forget(app)
            else:
                act(app, world.now)
        for found in world.companions._groups.values():
            pairs = {(root, target) for root, state in found.apps.items() for target in state.targets}
            assert pairs == {(root, target) for target, state in found.apps.items() for root in state.roots} == {*found._pairs}
            opened = {wake.app for wake in (*found._waking.values(), *found._ready.values())}
            assert opened == {name for name, state in found.apps.items() if state.wake is not None}
            for name in found.apps:
                for each in world.companions.suggestions(name):
                    assert each.app != name
