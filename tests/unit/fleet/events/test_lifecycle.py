"""What is told of an application's life, fact by fact."""

from __future__ import annotations

import pytest

from fleet.events.lifecycle import Lifecycle

# active, ready, present, failure
ASLEEP, WAITS, STARTS, AWAKE = (
    (False, False, False, ""),
    (True, False, False, ""),
    (True, False, True, ""),
    (True, True, True, ""),
)
IDLE, LEAVING, IN_VAIN = (False, True, True, ""), (False, False, True, ""), (True, False, True, "no backend")


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ([ASLEEP], []),
        ([AWAKE], []),
        ([ASLEEP, WAITS, STARTS, AWAKE, IDLE, LEAVING, ASLEEP], ["wake", "ready", "sleep"]),
        ([ASLEEP, AWAKE], ["wake", "ready"]),
        ([ASLEEP, WAITS, IN_VAIN, IN_VAIN, AWAKE, ASLEEP], ["wake", "failed", "ready", "sleep"]),
        ([ASLEEP, WAITS, ASLEEP, WAITS, AWAKE], ["wake", "failed", "sleep", "wake", "ready"]),
        ([ASLEEP, WAITS, IN_VAIN, ASLEEP], ["wake", "failed", "sleep"]),
        ([WAITS, AWAKE], ["ready"]),
        ([AWAKE, STARTS, LEAVING, IN_VAIN, AWAKE], []),
        ([AWAKE, ASLEEP, ASLEEP], ["sleep"]),
    ],
)
def test_a_life(seen: list[tuple[bool, bool, bool, str]], told: list[str]) -> None:
    lifecycle, kinds = Lifecycle(), []
    for now, (active, ready, present, failure) in enumerate(seen):
        kinds += [kind.value for kind, _ in lifecycle.see(now, active=active, ready=ready, present=present, failure=failure)]
    assert kinds == told


def test_details() -> None:
    lifecycle = Lifecycle()
    assert list(lifecycle.see(1.0, active=False, ready=False, present=False)) == []
    list(lifecycle.see(2.0, active=True, ready=False, present=False))
    ((_, data),) = lifecycle.see(4.5, active=True, ready=False, present=True, failure="why")
    assert data == {"reason": "why", "seconds": 2.5}
    ((_, data),) = lifecycle.see(7.0, active=True, ready=True, present=True)
    assert data == {"seconds": 5.0}
