"""What both custom resources say of a minimum of replicas by the clock."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from controller.schema.common import NOT_IN_ADDON
from fleet.schedules.cron import CRON_PATTERN, MAX_CRON
from fleet.schedules.declared import MAX_SCHEDULES, MAX_ZONE, ZONE_PATTERN

__all__ = ["Schedule", "ScheduleField"]

_MOST: Final = (1 << 31) - 1
"""KEDA's numbers of replicas have 32 bits."""


def _times(meaning: str) -> Meta:
    return Meta(
        pattern=CRON_PATTERN,
        max_length=MAX_CRON,
        description=f"{meaning}: minute, hour, day, month and weekday, as KEDA's cron trigger takes them.",
    )


class Schedule(msgspec.Struct, frozen=True, rename="camel"):
    """A window in which there is a minimum of replicas, whatever requests there are."""

    start: Annotated[str, _times("When the window begins")]
    end: Annotated[str, _times("When it ends")]
    timezone: Annotated[
        str,
        Meta(pattern=ZONE_PATTERN, max_length=MAX_ZONE, description='Whose clock the times are of: "Europe/Berlin", or "UTC".'),
    ]
    replicas: Annotated[int, Meta(ge=1, le=_MOST, description="Fewest replicas within the window.")] = 1


ScheduleField = Annotated[
    Annotated[tuple[Schedule, ...], Meta(max_length=MAX_SCHEDULES)] | None,
    Meta(
        description=f"Minimum replicas by the clock, beside what requests ask for; of several the most. {NOT_IN_ADDON}",
        extra_json_schema={"x-kubernetes-list-type": "atomic"},
    ),
]
