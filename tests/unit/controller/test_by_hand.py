"""Awake and asleep by hand: which annotations hold, until when, and what the ScaledObject becomes."""

from __future__ import annotations

from typing import Any

import pytest

from controller.by_hand import AWAKE_UNTIL, BY_ITSELF, NO_COOLDOWN_UNTIL, ByHand, by_hand, stamp
from controller.scaledobject import COPIED, Create, Leave, Patch, next_step
from controller.wiring import Scaler
from tests.unit.controller.objects import http, scaled
from tests.unit.controller.test_scaledobject import patched

SCALER = Scaler("weir-scaler.weir-system.svc:9091")
NOW = 1_800_000_000.0
SOON, LATER, PAST = stamp(NOW + 10), stamp(NOW + 100), stamp(NOW - 1)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (None, BY_ITSELF),
        ({"team": "a"}, BY_ITSELF),
        ({AWAKE_UNTIL: LATER}, ByHand(awake=True, left=100.0)),
        ({NO_COOLDOWN_UNTIL: SOON}, ByHand(hurried=True, left=10.0)),
        ({AWAKE_UNTIL: LATER, NO_COOLDOWN_UNTIL: SOON}, ByHand(awake=True, hurried=True, left=10.0)),
        ({AWAKE_UNTIL: PAST, NO_COOLDOWN_UNTIL: LATER}, ByHand(hurried=True, left=100.0)),
        ({AWAKE_UNTIL: PAST}, ByHand()),
        ({AWAKE_UNTIL: stamp(NOW)}, ByHand()),
        ({AWAKE_UNTIL: "2027-01-15T10:01:00+02:00"}, ByHand(awake=True, left=60.0)),
        ({AWAKE_UNTIL: "2027-01-15T08:00:00"}, ByHand(unusable=(AWAKE_UNTIL,))),
        ({AWAKE_UNTIL: "true"}, ByHand(unusable=(AWAKE_UNTIL,))),
        ({AWAKE_UNTIL: ""}, ByHand(unusable=(AWAKE_UNTIL,))),
        ({AWAKE_UNTIL: "9" * 100_000}, ByHand(unusable=(AWAKE_UNTIL,))),
        ({AWAKE_UNTIL: "0001-01-01T00:00:00+23:59"}, ByHand()),
    ],
)
def test_what_annotations_ask_for(annotations: dict[str, str] | None, expected: ByHand) -> None:
    found = by_hand(http(metadata={"annotations": annotations}).meta, NOW)
    assert found == expected


@pytest.mark.parametrize(
    ("asked", "replicas", "expected"),
    [
        (ByHand(), None, (None, 60)),
        (ByHand(awake=True), None, (1, 60)),
        (ByHand(awake=True), {"min": 0, "max": 3}, (1, 60)),
        (ByHand(awake=True), {"min": 2, "max": 3}, (2, 60)),
        (ByHand(hurried=True), {"min": 0, "max": 3}, (0, 0)),
        (ByHand(awake=True, hurried=True), {"max": 3}, (1, 0)),
    ],
)
def test_what_the_scaled_object_becomes(asked: ByHand, replicas: Any, expected: tuple[int | None, int]) -> None:
    step = next_step(http(replicas=replicas, scaledownPeriod=60), None, SCALER, asked=asked)
    assert isinstance(step, Create)
    assert (step.manifest["spec"].get("minReplicaCount"), step.manifest["spec"]["cooldownPeriod"]) == expected


def test_there_and_back() -> None:
    """One write when it begins, one when it is over, and none between; nothing of it is left."""
    plain = next_step(http(), None, SCALER)
    assert isinstance(plain, Create)
    resource = http(metadata={"annotations": {AWAKE_UNTIL: LATER, NO_COOLDOWN_UNTIL: SOON, "team": "a"}})
    asked = by_hand(resource.meta, NOW)
    step = next_step(resource, scaled(plain.manifest), SCALER, asked=asked)
    assert isinstance(step, Patch)
    assert step.patch["spec"] == {"minReplicaCount": 1, "cooldownPeriod": 0}
    actual = patched(scaled(plain.manifest), step.patch)
    assert (actual.meta.annotations or {}) == {"team": "a", COPIED: "team"}
    assert next_step(resource, actual, SCALER, asked=asked) == Leave()
    after = next_step(http(), actual, SCALER, asked=by_hand(http().meta, NOW))
    assert isinstance(after, Patch)
    left = {name: value for name, value in patched(actual, after.patch).spec.items() if value is not None}
    assert left == scaled(plain.manifest).spec
