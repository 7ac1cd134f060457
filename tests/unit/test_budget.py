"""The CPU budget of unit tests: what is allowed, and what is reported."""

from __future__ import annotations

import pytest

from tests.support.budget import ALLOWANCE, BUDGET, OF_ALL, TOTAL, over_budget, over_total

TOO_MUCH = BUDGET * ALLOWANCE + 0.1


@pytest.mark.parametrize(
    ("seconds", "excuse", "full", "told"),
    [
        (BUDGET, None, False, None),
        (BUDGET * ALLOWANCE, None, False, None),
        (TOO_MUCH, None, False, "it took 4.1 s of CPU, and a unit test has 2: make it smaller"),
        (TOO_MUCH, None, True, None),
        (TOO_MUCH, "it compares every version", False, None),
        (0.0, "", False, "a reason is missing"),
        (0.0, "", True, "a reason is missing"),
    ],
)
def test_what_takes_more_than_its_budget_is_reported(seconds: float, excuse: str | None, told: str | None, *, full: bool) -> None:
    said = over_budget(seconds, excuse, full=full)
    assert (said is None) == (told is None)
    assert (told or "") in (said or "")


@pytest.mark.parametrize(
    ("seconds", "full", "told"),
    [(TOTAL * OF_ALL, False, None), (TOTAL * OF_ALL + 1, False, "unit tests have 50 together"), (9 * TOTAL, True, None)],
)
def test_what_all_take_together_is_limited(seconds: float, told: str | None, *, full: bool) -> None:
    said = over_total(seconds, full=full)
    assert (said is None) == (told is None)
    assert (told or "") in (said or "")
