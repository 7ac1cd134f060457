"""What the status says of schedules: what they ask for now, and whether a ScaledObject follows them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from controller.autoscalers import ScaledObject
from controller.finding import Finding
from controller.schedules import trigger_of
from fleet.schedules.windows import Minimum, Schedule, when

__all__ = ["found_of"]


def found_of(schedules: Sequence[Schedule], minimum: Minimum, scaled_object: ScaledObject | None) -> Finding:
    """What the condition about schedules says: what they ask for, and until when; or why nothing follows them."""
    if scaled_object is None:
        return Finding("False", "NoTrigger", "there is no ScaledObject that could follow the schedule")
    there = [(trigger.type, trigger.metadata) for trigger in scaled_object.triggers]
    for schedule in schedules:
        trigger = trigger_of(schedule)
        if (trigger["type"], trigger["metadata"]) not in there:
            said = ", ".join(f'{name}: "{value}"' for name, value in trigger["metadata"].items())
            why = f"ScaledObject {scaled_object.meta.name} has no trigger of type cron with {{{said}}}"
            return Finding("False", "NoTrigger", f"{why}: it does not follow the schedule")
    if minimum.until is None and minimum.replicas:
        return Finding("True", "InWindow", f"{_counted(minimum.replicas)} by schedule, for years")
    if minimum.schedule is None or minimum.until is None:
        return Finding("False", "OutsideWindow", "no window of the schedule begins within years")
    at = f"{when(minimum.until, minimum.schedule.zone)} {minimum.schedule.timezone}"
    if minimum.replicas:
        return Finding("True", "InWindow", f"{_counted(minimum.replicas)} by schedule until {at}")
    return Finding("False", "OutsideWindow", f"{_counted(minimum.then)} by schedule from {at}")


def _counted(replicas: int) -> str:
    return "1 replica" if replicas == 1 else f"{replicas} replicas"
