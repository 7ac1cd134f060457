"""Schedules of custom resources, parsed, and as triggers of a ScaledObject.

KEDA starts and stops by them: each schedule is a cron trigger in the ScaledObject that has the trigger for requests too, and KEDA
takes the most of all triggers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controller.limits import Notes
from controller.problem import Problem
from controller.schema.schedules import Schedule as Spec
from fleet.schedules.declared import ScheduleError, schedule_of
from fleet.schedules.windows import Schedule

__all__ = ["CRON", "note_maximum", "schedules_of", "trigger_of"]

CRON = "cron"
"""The type of KEDA's trigger."""


def schedules_of(given: Sequence[Spec] | None) -> tuple[Schedule, ...]:
    """Raises Problem."""
    return tuple(_schedule(number, spec) for number, spec in enumerate(given or ()))


def _schedule(number: int, spec: Spec) -> Schedule:
    try:
        return schedule_of(start=spec.start, end=spec.end, timezone=spec.timezone, replicas=spec.replicas)
    except ScheduleError as error:
        raise Problem(f"spec.schedule[{number}].{error.field}", error.reason) from error


def note_maximum(notes: Notes, schedules: Sequence[Schedule], maximum: int | None) -> None:
    """Note schedules that ask for more replicas than there may be."""
    for number, schedule in enumerate(schedules):
        if maximum is not None and schedule.replicas > maximum:
            notes.ignore(
                f"schedule[{number}].replicas", f"{schedule.replicas} is more than replicas.max, which is {maximum} and holds"
            )


def trigger_of(schedule: Schedule) -> dict[str, Any]:
    """The trigger by which KEDA follows a schedule."""
    metadata = {
        "timezone": schedule.timezone,
        "start": schedule.start.text,
        "end": schedule.end.text,
        "desiredReplicas": str(schedule.replicas),
    }
    return {"type": CRON, "metadata": metadata}
