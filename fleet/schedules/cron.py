"""Cron expressions of five fields, as KEDA's cron trigger reads them, and the times of a wall clock that they name. Pure.

The grammar is that of robfig/cron v3 with its five-field parser, which KEDA uses: names of months and days, lists, ranges and
steps; `?` is `*`; Sunday is 0 and never 7; no seconds, no `@daily`, no `L`, `W` and `#`. What KEDA refuses is refused. So are a
few texts that KEDA takes and that mean nothing: an empty item of a list, `*-5`, and a day that no month has.

Times are whole minutes of a wall clock since 1970, without a zone. Zones are the concern of fleet.schedules.windows.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from typing import Final

__all__ = ["CRON_PATTERN", "MAX_CRON", "MINUTES_OF_DAY", "Cron", "CronError", "parse"]

MAX_CRON: Final = 128
"""Characters of an expression. Enough for every list that people write; KEDA makes the name of a metric of it."""
CRON_PATTERN: Final = r"^[ \t]*[0-9A-Za-z*?,/-]+([ \t]+[0-9A-Za-z*?,/-]+){4}[ \t]*$"
"""What a schema can say of an expression: five fields, and which characters they have."""
MINUTES_OF_DAY: Final = 24 * 60
HORIZON: Final = 9 * 366
"""Days that are searched. A 29 February may be eight years away."""

_EPOCH: Final = date(1970, 1, 1).toordinal()
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_LEAP_YEAR: Final = 2000
_MONTH_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAY_NAMES: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS: Final = {name: number for number, name in enumerate(_WEEKDAY_NAMES)}


class CronError(ValueError):
    """An expression that is not taken. The message names the field of the expression."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    names: dict[str, int]
    hint: str = ""


_FIELDS: Final = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _WEEKDAYS, "; Sunday is 0"),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression."""

    text: str
    minutes: tuple[int, ...]
    """Minutes of a day, ascending."""
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either: bool
    """Whether a day fits by its number or by its weekday. If one of the two fields is `*`, it has to fit by both."""

    def next_wall(self, minute: int) -> int | None:
        """The first time from `minute` on."""
        day, within = divmod(minute, MINUTES_OF_DAY)
        position = bisect_left(self.minutes, within)
        if position < len(self.minutes) and self._has(date.fromordinal(day + _EPOCH)):
            return day * MINUTES_OF_DAY + self.minutes[position]
        found = self._search(day + 1, 1)
        return None if found is None else found * MINUTES_OF_DAY + self.minutes[0]

    def last_wall(self, minute: int) -> int | None:
        """The last time up to `minute`."""
        day, within = divmod(minute, MINUTES_OF_DAY)
        position = bisect_right(self.minutes, within)
        if position > 0 and self._has(date.fromordinal(day + _EPOCH)):
            return day * MINUTES_OF_DAY + self.minutes[position - 1]
        found = self._search(day - 1, -1)
        return None if found is None else found * MINUTES_OF_DAY + self.minutes[-1]

    def _search(self, day: int, step: int) -> int | None:
        """The nearest day that fits, from `day` on in the direction of `step`. Days count from 1970."""
        limit = day + step * HORIZON
        while (limit - day) * step > 0:
            at = date.fromordinal(day + _EPOCH)
            if at.month not in self.months:
                month = calendar.monthrange(at.year, at.month)[1]
                day += month - at.day + 1 if step > 0 else -at.day
            elif self._has(at):
                return day
            else:
                day += step
        return None

    def _has(self, day: date) -> bool:
        by_number, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (by_number or by_weekday if self.either else by_number and by_weekday)


def parse(text: str) -> Cron:
    """Raises CronError."""
    if len(text) > MAX_CRON:
        raise CronError(f"longer than {MAX_CRON} characters")
    if text.startswith("@"):
        raise CronError(f"{text!r} is no expression of five fields, and KEDA takes no other")
    parts = [part for part in text.replace("\t", " ").split(" ") if part]
    if len(parts) != len(_FIELDS):
        raise CronError(
            f'{text!r} has {len(parts)} fields instead of five: minute, hour, day, month, weekday, as "0 8 * * mon-fri"'
        )
    minutes, hours, days, months, weekdays = (_values(part, field) for part, field in zip(parts, _FIELDS, strict=True))
    cron = Cron(
        text=" ".join(parts),
        minutes=tuple(hour * 60 + minute for hour in sorted(hours) for minute in sorted(minutes)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(weekdays),
        either=not (_is_any(parts[2]) or _is_any(parts[4])),
    )
    if not cron.either and not any(day <= calendar.monthrange(_LEAP_YEAR, month)[1] for day in days for month in months):
        raise CronError(f"day of month: {parts[2]} is in none of the months {parts[3]}")
    return cron


def _values(text: str, field: _Field) -> set[int]:
    """The values that one field names: a list of ranges."""
    found: set[int] = set()
    for part in text.split(","):
        found.update(_range(part, field))
    return found


def _range(text: str, field: _Field) -> range:
    """`*`, a number, `A-B`, each with `/STEP` or not; `A/STEP` is from A to the end."""
    span, slash, pace = text.partition("/")
    first, hyphen, last = span.partition("-")
    if span in ("*", "?"):
        low, high = field.least, field.most
    else:
        low = _number(first, field, text)
        high = _number(last, field, text) if hyphen else field.most if slash else low
    if low > high:
        raise CronError(f"{field.name}: {text!r} begins after its end")
    step = 1
    if slash:
        if not _NUMBER.fullmatch(pace) or not int(pace):
            raise CronError(f"{field.name}: the step of {text!r} is no number above 0")
        step = int(pace)
    return range(low, high + 1, step)


def _number(text: str, field: _Field, part: str) -> int:
    named = field.names.get(text.lower())
    if named is not None:
        return named
    if not _NUMBER.fullmatch(text):
        raise CronError(f"{field.name}: {part!r} is no number, name, range or step")
    value = int(text)
    if not field.least <= value <= field.most:
        raise CronError(f"{field.name}: {value} is not from {field.least} to {field.most}{field.hint}")
    return value


def _is_any(text: str) -> bool:
    """Whether a field has a `*` that takes every value."""
    for part in text.split(","):
        span, _, pace = part.partition("/")
        if span in ("*", "?") and (not pace or int(pace) == 1):
            return True
    return False
