"""Schedules of custom resources: errors, the triggers that KEDA follows, and what the status says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from controller.resources import Resource
from controller.scaledobject import Leave, Patch, desired, next_step
from controller.scaling import ScalingFacts
from controller.status import Facts, next_status
from controller.wiring import Scaler, miswiring, wired
from fleet.schedules.windows import minimum_at
from tests.unit.controller.objects import http, route, scaled

SCALER = Scaler("a:1")
OFFICE: dict[str, Any] = {"start": "0 8 * * mon-fri", "end": "0 18 * * mon-fri", "timezone": "Europe/Berlin", "replicas": 2}
TRIGGER = {
    "type": "cron",
    "metadata": {
        "timezone": "Europe/Berlin",
        "start": "0 8 * * mon-fri",
        "end": "0 18 * * mon-fri",
        "desiredReplicas": "2",
    },
}
FRIDAY = "2026-11-27T"


@pytest.mark.parametrize("make", [http, route])
@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"start": "0 8 * * 7"}, "start", "day of week: 7 is not from 0 to 6; Sunday is 0"),
        ({"end": "0 8 * * 1-5"}, "end", "is the same as the start"),
        ({"end": "0 8 30 2 *"}, "end", "day of month: 30 is in none of the months 2"),
        ({"timezone": "Europe/Nowhere"}, "timezone", "'Europe/Nowhere' is no time zone"),
    ],
)
def test_an_error_names_the_field(make: Any, changed: dict[str, Any], field: str, reason: str) -> None:
    problem = make(schedule=[OFFICE, OFFICE | changed]).problem
    assert problem is not None
    assert problem.field == f"spec.schedule[1].{field}"
    assert problem.reason.startswith(reason)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"start": "@daily"}, "spec.schedule[0].start"),
        ({"start": "0 8 * *"}, "spec.schedule[0].start"),
        ({"start": "0 " * 70 + "0"}, "spec.schedule[0].start"),
        ({"timezone": "../etc"}, "spec.schedule[0].timezone"),
        ({"replicas": 0}, "spec.schedule[0].replicas"),
        ({"replicas": 1 << 31}, "spec.schedule[0].replicas"),
    ],
)
def test_what_the_schema_refuses_is_refused_past_it(changed: dict[str, Any], words: str) -> None:
    problem = http(schedule=[OFFICE | changed]).problem
    assert problem is not None
    assert problem.field.replace("[...]", "[0]") == words


def test_more_schedules_than_an_app_may_have() -> None:
    assert http(schedule=[OFFICE] * 10).problem is None
    assert http(schedule=[OFFICE] * 11).problem is not None


def test_more_replicas_than_there_may_be_are_noted_and_requests_are_served() -> None:
    resource = http(replicas={"max": 1}, schedule=[OFFICE])
    (note,) = resource.ignored
    assert (note.field, note.reason) == ("spec.schedule[0].replicas", "2 is more than replicas.max, which is 1 and holds")
    assert resource.route is not None


def test_each_schedule_is_a_trigger_beside_that_of_requests() -> None:
    night = {"start": " 0  22 * * *", "end": "0 6 * * *", "timezone": "UTC"}
    triggers = desired(http(schedule=[OFFICE, night]), SCALER)["spec"]["triggers"]
    assert [trigger["type"] for trigger in triggers] == ["external-push", "cron", "cron"]
    assert triggers[1] == TRIGGER
    assert triggers[2]["metadata"] == {"timezone": "UTC", "start": "0 22 * * *", "end": "0 6 * * *", "desiredReplicas": "1"}


def test_a_schedule_that_changes_or_goes_is_followed_and_nothing_is_written_twice() -> None:
    resource = http(schedule=[OFFICE])
    made = desired(resource, SCALER)
    assert next_step(resource, scaled(made), SCALER) == Leave()
    without = next_step(http(), scaled(made), SCALER)
    assert isinstance(without, Patch)
    assert without.patch["spec"] == {"triggers": made["spec"]["triggers"][:1]}
    other = next_step(http(schedule=[OFFICE | {"replicas": 3}]), scaled(made), SCALER)
    assert isinstance(other, Patch)
    assert other.patch["spec"]["triggers"][1]["metadata"]["desiredReplicas"] == "3"


def test_a_trigger_that_somebody_took_out_is_put_back() -> None:
    resource = http(schedule=[OFFICE])
    made = desired(resource, SCALER)
    made["spec"]["triggers"].pop()
    step = next_step(resource, scaled(made), SCALER)
    assert isinstance(step, Patch)
    assert step.patch["spec"]["triggers"][1] == TRIGGER


def test_triggers_of_the_clock_lead_to_no_app() -> None:
    made = scaled(desired(http(schedule=[OFFICE]), SCALER))
    assert made.apps == {"shop/web"}
    assert miswiring(made, SCALER, lambda app: "") is None
    assert wired(made, SCALER, "shop/web") is None


def told(resource: Resource, at: str, **scaling: Any) -> tuple[str, str, str] | None:
    """Status, reason and message of the condition."""
    minimum = minimum_at(resource.schedules, datetime.fromisoformat(at).timestamp()) if resource.schedules else None
    facts = Facts(scaling=ScalingFacts(**{"known": True, **scaling}), minimum=minimum)
    found = {condition.type: condition for condition in next_status(resource, facts, at).conditions}.get("Scheduled")
    return None if found is None else (found.status, found.reason, found.message)


def test_the_status_says_why_an_app_is_awake_and_until_when() -> None:
    resource = http(schedule=[OFFICE])
    found = scaled(desired(resource, SCALER))
    assert told(resource, f"{FRIDAY}09:00Z", found=found) == (
        "True", "InWindow", "2 replicas by schedule until 2026-11-27 18:00 Europe/Berlin",
    )  # fmt: skip
    assert told(resource, f"{FRIDAY}17:00Z", found=found) == (
        "False", "OutsideWindow", "2 replicas by schedule from 2026-11-30 08:00 Europe/Berlin",
    )  # fmt: skip
    always = http(schedule=[OFFICE | {"start": "0 8 * * *", "end": "0 8,18 * * *", "replicas": 1}])
    status, reason, _ = told(always, f"{FRIDAY}17:00Z", found=scaled(desired(always, SCALER))) or ("", "", "")
    assert (status, reason) == ("True", "InWindow")


def test_without_a_schedule_there_is_no_such_condition() -> None:
    assert told(http(), f"{FRIDAY}09:00Z") is None


def test_a_message_is_the_same_from_one_change_to_the_next() -> None:
    """So that nothing is written while nothing changes."""
    resource = http(schedule=[OFFICE])
    found = scaled(desired(resource, SCALER))
    assert len({told(resource, f"{FRIDAY}{hour:02}:30Z", found=found) for hour in range(7, 17)}) == 1


def test_a_scaled_object_of_the_user_needs_the_trigger_and_is_told_which() -> None:
    resource = route(schedule=[OFFICE])
    made = desired(http(), SCALER)
    status, reason, message = told(resource, f"{FRIDAY}09:00Z", found=scaled(made)) or ("", "", "")
    assert (status, reason) == ("False", "NoTrigger")
    assert message == (
        'ScaledObject web has no trigger of type cron with {timezone: "Europe/Berlin", start: "0 8 * * mon-fri", '
        'end: "0 18 * * mon-fri", desiredReplicas: "2"}: it does not follow the schedule'
    )
    made["spec"]["triggers"].append(TRIGGER)
    assert (told(resource, f"{FRIDAY}09:00Z", found=scaled(made)) or ("",))[0] == "True"
    assert (told(resource, f"{FRIDAY}09:00Z") or ("",))[:2] == ("False", "NoTrigger")


def test_what_is_not_known_yet_is_no_fault() -> None:
    assert (told(http(schedule=[OFFICE]), f"{FRIDAY}09:00Z", known=False) or ("",))[:2] == ("Unknown", "Pending")


def test_an_earlier_result_is_kept_while_scaled_objects_are_not_read() -> None:
    resource = http(schedule=[OFFICE])
    found = scaled(desired(resource, SCALER))
    minimum = minimum_at(resource.schedules, datetime.fromisoformat(f"{FRIDAY}09:00Z").timestamp())
    status = next_status(resource, Facts(scaling=ScalingFacts(known=True, found=found), minimum=minimum), "2026-01-01T00:00:00Z")
    before = msgspec.structs.replace(resource, status=status)
    assert (told(before, f"{FRIDAY}09:00Z", known=False) or ("",))[:2] == ("True", "InWindow")
