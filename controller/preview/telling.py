"""The status of a Preview. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from controller.preview.life import Life, write_time
from controller.preview.resource import Preview
from controller.resources import Resource
from controller.schema.common import Condition
from controller.schema.preview import PreviewStatus
from fleet.routing.preview_index import hosts_of_copy
from fleet.routing.previews import Previews

__all__ = [
    "AFTER",
    "AFTER_DONE",
    "AFTER_FAILED",
    "AFTER_TIMED_OUT",
    "MADE",
    "Outcome",
    "changes_of",
    "ending_status",
    "failures",
    "status_of",
]

MADE = "Made"
READY = "Ready"
AFTER = "AfterHooks"
"""The condition about hooks after, of a Preview that is being deleted."""
AFTER_DONE, AFTER_FAILED, AFTER_TIMED_OUT = "AfterHooksDone", "AfterHookFailed", "AfterHookTimedOut"
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
    placed: str | None = None
    """The copy that requests are routed to in another namespace, "namespace/name"; "" for none, None: as before."""
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
        placed=preview.status.placed if outcome.placed is None else outcome.placed,
        hosts=", ".join(islice(hosts_of_copy(base, preview.name), MAX_HOSTS)) if base is not None else "",
        hooks_done=preview.status.hooks_done if outcome.hooks_done is None else outcome.hooks_done,
        account=preview.status.account,
        last_used=write_time(life.last_used),
        expires_at=write_time(life.ends),
        observed_generation=preview.meta.generation if outcome.reason == MADE else preview.status.observed_generation,
        conditions=tuple(_dated(condition, preview, now) for condition in conditions.values()),
    )


def ending_status(
    preview: Preview, reason: str, message: str, now: float, *, done: Sequence[str], failed: Mapping[str, str]
) -> PreviewStatus:
    """Of one that is being deleted: how far its hooks after are. The rest stays as it was."""
    whole = {AFTER_DONE: "True", AFTER_FAILED: "False", AFTER_TIMED_OUT: "False"}.get(reason, "Unknown")
    after = _condition(preview, AFTER, whole, reason, message)
    if failed and whole == "Unknown":
        after = _condition(preview, AFTER, "False", AFTER_FAILED, failures(failed))
    ready = _condition(preview, READY, "False", reason, message)
    return msgspec.structs.replace(
        preview.status,
        after_done=tuple(done),
        after_failed=dict(failed),
        conditions=tuple(_dated(condition, preview, now) for condition in (ready, after)),
    )


def failures(failed: Mapping[str, str]) -> str:
    """Of hooks after, for people."""
    return "; ".join(f"hook {name}: {why}" for name, why in failed.items())


def changes_of(before: PreviewStatus, after: PreviewStatus) -> dict[str, Any]:
    """A merge patch that makes one of the other. What is the same in both is left out, as somebody may have written it since."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return {name: new.get(name) for name in (*old, *new) if old.get(name) != new.get(name)}


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
