"""From what people write to a Schedule, or to an error that names the field. Reads the files of time zones."""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fleet.schedules.cron import Cron, CronError, parse
from fleet.schedules.windows import Schedule

__all__ = ["MAX_SCHEDULES", "MAX_ZONE", "ZONE_PATTERN", "ScheduleError", "schedule_of"]

MAX_SCHEDULES: Final = 10
"""Schedules of one app. Each is a trigger of its own, about which KEDA and the HPA ask one after the other."""
MAX_ZONE: Final = 64
"""Characters of the name of a zone; the longest one has 32."""
ZONE_PATTERN: Final = r"^[A-Za-z][0-9A-Za-z_+-]*(/[0-9A-Za-z_+-]+)*$"

_ZONE: Final = re.compile(ZONE_PATTERN)
_NOT_EVERYWHERE: Final = ("posix/", "right/", "Local", "localtime")
"""Beginnings of names that some systems know: other builds of the same zones, and the zone of the machine."""


class ScheduleError(ValueError):
    """Why a schedule is not taken: which of its fields, and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


def schedule_of(*, start: str, end: str, timezone: str, replicas: int) -> Schedule:
    """Raises ScheduleError."""
    begins, ends = _cron("start", start), _cron("end", end)
    if _times(begins) == _times(ends):
        raise ScheduleError("end", "is the same as the start")
    if replicas < 1:
        raise ScheduleError("replicas", f"{replicas} is less than 1")
    return Schedule(begins, ends, _zone(timezone), timezone, replicas)


def _cron(field: str, text: str) -> Cron:
    try:
        return parse(text)
    except CronError as error:
        raise ScheduleError(field, str(error)) from error


def _times(cron: Cron) -> tuple[object, ...]:
    return cron.minutes, cron.days, cron.months, cron.weekdays, cron.either


def _zone(name: str) -> ZoneInfo:
    if len(name) <= MAX_ZONE and _ZONE.fullmatch(name) and not name.startswith(_NOT_EVERYWHERE):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # the last two: a file that is none of a zone, a directory
            pass
    raise ScheduleError("timezone", f'{name[:MAX_ZONE]!r} is no time zone such as "Europe/Berlin" or "UTC"')
