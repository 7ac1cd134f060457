"""What a file of apps may say of a minimum of replicas by the clock. Values only."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fleet.schedules.declared import MAX_SCHEDULES, ScheduleError, schedule_of
from fleet.schedules.windows import Schedule
from weir.engine.fields import Model, Text, fault

__all__ = ["ScheduleSpec", "Schedules"]


class ScheduleSpec(Model):
    """A window in which the app has at least `replicas`, whatever requests there are."""

    start: Text
    """When the window begins: a cron expression of five fields, as KEDA's cron trigger takes it."""
    end: Text
    timezone: Text
    """Whose clock they are of: Europe/Berlin, or UTC."""
    replicas: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _has_meaning(self) -> ScheduleSpec:
        try:
            self.schedule()
        except ScheduleError as error:
            raise fault(error.field, error.reason) from error
        return self

    def schedule(self) -> Schedule:
        return schedule_of(start=self.start, end=self.end, timezone=self.timezone, replicas=self.replicas)


Schedules = Annotated[list[ScheduleSpec], Field(max_length=MAX_SCHEDULES)]
