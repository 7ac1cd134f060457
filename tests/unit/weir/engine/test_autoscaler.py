"""The autoscaler on a manual clock: what KEDA and an HPA would do with the same readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.engine.autoscaler import Autoscaler, Metric, Policy, Reading


def _policy(minimum: int = 0, maximum: int = 10, cooldown: float = 30.0, window: float = 0.0) -> Policy:
    return Policy(minimum=minimum, maximum=maximum, cooldown=cooldown, scale_down_window=window)


def _busy(value: float, target: float = 10.0) -> Reading:
    return Reading(active=True, metrics=[Metric(value, target)])


IDLE = Reading(active=False, metrics=[Metric(0.0, 10.0)])


def test_starts_at_the_minimum() -> None:
    assert Autoscaler(_policy(minimum=2), 0.0).desired == 2


def test_a_push_wakes_from_zero_to_one() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    assert scaler.pushed(5.0) == 1


def test_a_push_leaves_a_running_app_as_it_is() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    scaler.polled(_busy(40), 1.0)
    assert scaler.pushed(2.0) == 4


def test_an_active_poll_wakes_when_the_push_was_lost() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    assert scaler.polled(_busy(3), 1.0) == 1


def test_idle_stays_at_zero() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    assert scaler.polled(IDLE, 100.0) == 0


def test_replicas_are_the_sum_over_the_target_rounded_up() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    assert scaler.polled(_busy(31), 1.0) == 4


def test_a_step_up_at_most_doubles_or_reaches_four() -> None:
    scaler = Autoscaler(_policy(maximum=100), 0.0)
    scaler.pushed(0.0)
    steps = [scaler.polled(_busy(1000), now) for now in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    assert steps == [4, 8, 16, 32, 64, 100]


def test_a_deviation_within_the_tolerance_changes_nothing() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    scaler.polled(_busy(30), 1.0)
    assert scaler.polled(_busy(33), 2.0) == 3
    assert scaler.polled(_busy(27), 3.0) == 3
    assert scaler.polled(_busy(33.1), 4.0) == 4


def test_quotients_are_taken_in_thousandths() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    assert scaler.polled(_busy(3.3, target=1.1), 1.0) == 3


def test_the_highest_metric_decides() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    assert scaler.polled(Reading(active=True, metrics=[Metric(5, 10), Metric(90, 30)]), 1.0) == 3


def test_without_a_metric_replicas_stay() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    scaler.polled(_busy(30), 1.0)
    assert scaler.polled(Reading(active=True, metrics=[]), 2.0) == 3


def test_never_above_the_maximum() -> None:
    scaler = Autoscaler(_policy(maximum=3), 0.0)
    scaler.pushed(0.0)
    assert scaler.polled(_busy(500), 1.0) == 3


def test_down_only_to_the_highest_wish_of_the_window() -> None:
    scaler = Autoscaler(_policy(window=10.0), 0.0)
    scaler.pushed(0.0)
    assert scaler.polled(_busy(40), 1.0) == 4
    assert scaler.polled(_busy(10), 2.0) == 4
    assert scaler.polled(_busy(30), 6.0) == 4
    assert scaler.polled(_busy(10), 11.0) == 4  # the wish for four is ten seconds old: still in the window
    assert scaler.polled(_busy(10), 11.5) == 3
    assert scaler.polled(_busy(10), 16.5) == 1


def test_an_old_wish_never_scales_up() -> None:
    scaler = Autoscaler(_policy(window=10.0, maximum=5), 0.0)
    scaler.pushed(0.0)
    scaler.polled(_busy(50), 1.0)
    scaler.configure(_policy(window=10.0, maximum=2))
    scaler.configure(_policy(window=10.0, maximum=5))
    assert scaler.polled(_busy(10), 2.0) == 2


def test_zero_only_after_the_cooldown_of_the_last_activity() -> None:
    scaler = Autoscaler(_policy(cooldown=30.0), 0.0)
    scaler.polled(_busy(3), 10.0)
    assert scaler.polled(IDLE, 39.9) == 1
    assert scaler.polled(IDLE, 40.0) == 0


def test_a_push_renews_the_cooldown() -> None:
    scaler = Autoscaler(_policy(cooldown=30.0), 0.0)
    scaler.pushed(0.0)
    scaler.pushed(20.0)
    assert scaler.polled(IDLE, 40.0) == 1
    assert scaler.polled(IDLE, 50.0) == 0


def test_an_active_app_is_not_put_to_sleep_by_a_value_of_zero() -> None:
    scaler = Autoscaler(_policy(cooldown=1.0), 0.0)
    scaler.pushed(0.0)
    assert scaler.polled(Reading(active=True, metrics=[Metric(0.0, 10.0)]), 50.0) == 1


def test_zero_at_once_from_many() -> None:
    scaler = Autoscaler(_policy(cooldown=5.0, window=300.0), 0.0)
    scaler.pushed(0.0)
    scaler.polled(_busy(80), 1.0)
    scaler.polled(_busy(80), 2.0)
    assert scaler.desired == 8
    assert scaler.polled(IDLE, 7.0) == 0


def test_after_sleep_old_wishes_are_forgotten() -> None:
    scaler = Autoscaler(_policy(cooldown=5.0, window=300.0), 0.0)
    scaler.pushed(0.0)
    scaler.polled(_busy(40), 1.0)
    scaler.polled(IDLE, 6.0)
    scaler.pushed(7.0)
    assert scaler.polled(_busy(10), 8.0) == 1


def test_a_minimum_is_kept_without_requests() -> None:
    scaler = Autoscaler(_policy(minimum=2, cooldown=5.0), 0.0)
    scaler.polled(_busy(50), 1.0)
    assert scaler.polled(IDLE, 100.0) == 2


def test_a_new_minimum_wakes_at_once() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    assert scaler.configure(_policy(minimum=2)) == 2


def test_a_new_maximum_cuts_at_once() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    scaler.polled(_busy(40), 1.0)
    assert scaler.configure(_policy(maximum=2)) == 2


def test_a_changed_policy_does_not_wake_a_sleeping_app() -> None:
    assert Autoscaler(_policy(), 0.0).configure(_policy(maximum=5)) == 0


readings = st.builds(
    Reading,
    active=st.booleans(),
    metrics=st.lists(st.builds(Metric, st.floats(0, 1e6), st.floats(0.001, 1e4)), max_size=3),
)


@given(st.lists(st.tuples(st.floats(0, 20), st.one_of(st.none(), readings)), max_size=40), st.integers(0, 3), st.integers(3, 9))
def test_always_within_the_bounds(events: list[tuple[float, Reading | None]], minimum: int, maximum: int) -> None:
    scaler = Autoscaler(_policy(minimum=minimum, maximum=maximum, cooldown=10.0, window=5.0), 0.0)
    now = 0.0
    for pause, reading in events:
        now += pause
        before = scaler.desired
        after = scaler.pushed(now) if reading is None else scaler.polled(reading, now)
        assert minimum <= after <= maximum
        if before and not after:
            assert minimum == 0
            assert reading is not None
            assert not reading.active


@pytest.mark.parametrize("desired", [1, 3])
def test_from_zero_with_a_minimum(desired: int) -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.configure(_policy(minimum=desired))
    assert scaler.polled(IDLE, 1.0) == desired


def test_put_to_sleep_it_stays_so_though_the_scaler_still_calls_it_active() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    assert scaler.sleep() == 0
    assert scaler.polled(_busy(0.0), 1.0) == 0  # its last request is not long ago
    assert scaler.pushed(2.0) == 1  # a new one
    assert scaler.sleep() == 0
    assert scaler.polled(IDLE, 3.0) == 0
    assert scaler.polled(_busy(1.0), 4.0) == 1  # active anew, and the push was lost


def test_what_never_sleeps_goes_to_its_minimum() -> None:
    scaler = Autoscaler(_policy(minimum=2), 0.0)
    scaler.polled(_busy(40), 1.0)
    assert scaler.sleep() == 2
    assert scaler.polled(_busy(40), 2.0) == 4


# -- schedules --------------------------------------------------------------------------------------------------------


def test_a_schedule_starts_its_minimum_at_once_and_holds_it() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    assert scaler.scheduled(3, 10.0) == 3
    assert [scaler.polled(IDLE, 10.0 + 100.0 * number) for number in range(5)] == [3] * 5
    assert scaler.polled(_busy(50), 600.0) == 5, "requests ask for more"
    assert scaler.polled(IDLE, 601.0) == 3


def test_the_cooldown_begins_at_the_end_of_a_schedule() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.scheduled(2, 10.0)
    assert scaler.scheduled(0, 1000.0) == 2
    assert scaler.polled(IDLE, 1029.0) == 1
    assert scaler.polled(IDLE, 1030.0) == 0


def test_after_a_schedule_the_minimum_of_the_policy_holds() -> None:
    scaler = Autoscaler(_policy(minimum=1), 0.0)
    assert scaler.scheduled(3, 0.0) == 3
    scaler.scheduled(0, 10.0)
    assert scaler.polled(IDLE, 1000.0) == 1


def test_a_schedule_never_asks_for_more_than_the_maximum() -> None:
    scaler = Autoscaler(_policy(maximum=2), 0.0)
    assert scaler.scheduled(5, 0.0) == 2
    assert scaler.configure(_policy(maximum=1)) == 1
    assert scaler.polled(IDLE, 100.0) == 1


def test_an_app_put_to_sleep_wakes_for_its_schedule_and_does_not_sleep_in_it() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.pushed(0.0)
    scaler.sleep()
    assert scaler.scheduled(2, 1.0) == 2
    assert scaler.sleep() == 2
    assert scaler.polled(_busy(1), 2.0) == 2


def test_a_schedule_survives_another_policy() -> None:
    scaler = Autoscaler(_policy(), 0.0)
    scaler.scheduled(2, 0.0)
    assert scaler.configure(_policy(maximum=20)) == 2
    assert scaler.polled(IDLE, 500.0) == 2
