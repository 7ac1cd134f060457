from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.pushes import Push


def test_an_application_active_at_the_opening_is_pushed_at_once() -> None:
    push = Push(2.0)
    assert push.due(0.0, active=True, held=False)
    assert not push.due(0.1, active=True, held=False)
    assert push.next() is None


def test_an_inactive_one_waits_for_a_wake() -> None:
    push = Push(2.0)
    assert not push.due(0.0, active=False, held=False)
    assert not push.due(50.0, active=True, held=False), "without a wake there was no edge"
    push.wake()
    assert push.due(50.0, active=True, held=False)


def test_held_requests_are_told_again_at_the_interval() -> None:
    push = Push(2.0)
    assert push.due(0.0, active=True, held=True)
    assert push.next() == 2.0
    assert not push.due(1.9, active=True, held=True)
    assert push.due(2.0, active=True, held=True)
    assert not push.due(4.0, active=True, held=False)
    assert push.next() is None


def test_a_wake_within_the_interval_waits_for_its_end() -> None:
    push = Push(2.0)
    assert push.due(0.0, active=True, held=False)
    push.wake()
    assert not push.due(0.5, active=True, held=False)
    assert push.next() == 2.0
    assert push.due(2.0, active=True, held=False)
    assert push.next() is None


def test_a_wake_that_is_over_is_not_told() -> None:
    push = Push(2.0)
    push.wake()
    assert not push.due(0.0, active=False, held=False)
    assert push.next() is None


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.booleans(), st.booleans()), max_size=200), st.floats(0.1, 5))
def test_never_faster_than_the_interval(steps: list[tuple[float, bool, bool, bool]], interval: float) -> None:
    push, now, pushed = Push(interval), 0.0, []
    for wait, wake, active, held in steps:
        now += wait
        if wake:
            push.wake()
        if push.due(now, active=active or held, held=held):
            assert active or held
            pushed.append(now)
    assert all(later - earlier >= interval - 1e-9 for earlier, later in pairwise(pushed))


@pytest.mark.parametrize("held", [False, True])
def test_asking_at_next_is_enough(held: bool) -> None:
    push = Push(2.0)
    push.due(0.0, active=True, held=False)
    push.wake()
    again = push.next() if not push.due(1.0, active=True, held=held) else None
    assert again is not None
    assert push.due(again, active=True, held=held)
