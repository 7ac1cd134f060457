"""The status of a Preview. Pure."""

from __future__ import annotations

from itertools import islice

import msgspec

from controller.preview.life import Life, write_time
from controller.preview.resource import Preview
from controller.resources import Resource
from controller.schema.common import Condition
from controller.schema.preview import PreviewStatus
from fleet.routing.preview_index import hosts_of_copy
from fleet.routing.previews import Previews

__all__ = ["MADE", "Outcome", "status_of"]

MADE = "Made"
READY = "Ready"
_PASSED_ON = ("Reachable", "Conflict")
"""Conditions of the copy's HTTPScaledObject that say more than its Ready."""
MAX_HOSTS = 10
"""Hosts that the status names."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of making it: MADE, or why it is not made."""

    reason: str
    message: str
    base: Resource | None = None
    copy: Resource | None = None
    """The HTTPScaledObject that was made, once it is seen."""
    hooks_done: tuple[str, ...] | None = None
    """None where they were not looked at."""
    error: Exception | None = None
    """To be raised once the status is written: it is tried again then."""


def status_of(preview: Preview, life: Life, outcome: Outcome, now: float) -> PreviewStatus:
    """`now` is in seconds since the epoch."""
    base = None if outcome.base is None else outcome.base.route
    if base is not None and base.previews is None:  # it needs not say that it has previews
        base = msgspec.structs.replace(base, previews=Previews())
    conditions = {condition.type: condition for condition in _conditions(preview, outcome)}
    return PreviewStatus(
        name=preview.name,
        copy=preview.copy if outcome.reason == MADE else "",
        hosts=", ".join(islice(hosts_of_copy(base, preview.name), MAX_HOSTS)) if base is not None else "",
        hooks_done=preview.status.hooks_done if outcome.hooks_done is None else outcome.hooks_done,
        last_used=write_time(life.last_used),
        expires_at=write_time(life.ends),
        observed_generation=preview.meta.generation if outcome.reason == MADE else preview.status.observed_generation,
        conditions=tuple(_dated(condition, preview, now) for condition in conditions.values()),
    )


def _conditions(preview: Preview, outcome: Outcome) -> list[Condition]:
    if outcome.reason != MADE:
        return [_condition(preview, READY, "False", outcome.reason, outcome.message)]
    of_copy = {} if outcome.copy is None else outcome.copy.conditions
    ready = of_copy.get(READY)
    if ready is None:
        return [_condition(preview, READY, "Unknown", "Making", "the HTTPScaledObject was made, and is not served yet")]
    passed = [ready, *(of_copy[kind] for kind in _PASSED_ON if kind in of_copy)]
    return [_condition(preview, each.type, each.status, each.reason, each.message) for each in passed]


def _condition(preview: Preview, kind: str, status: str, reason: str, message: str) -> Condition:
    return Condition(kind, status, reason, message, preview.meta.generation)


def _dated(condition: Condition, preview: Preview, now: float) -> Condition:
    before = preview.conditions.get(condition.type)
    same = before is not None and before.status == condition.status and before.last_transition_time
    since = before.last_transition_time if before is not None and same else write_time(now)
    return msgspec.structs.replace(condition, last_transition_time=since)
