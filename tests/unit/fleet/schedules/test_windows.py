"""Windows of schedules on an injected clock: over changes of the clock on the wall, across midnight, and against an oracle that
looks at every minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.schedules.cron import parse
from fleet.schedules.windows import Schedule, last_before, minimum_at, next_after, when

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
MINUTE = 60
ZONES = (BERLIN, NEW_YORK, LORD_HOWE, "UTC")
CHANGES = {
    BERLIN: ("2025-03-30T01:00Z", "2025-10-26T01:00Z"),
    NEW_YORK: ("2025-03-09T07:00Z", "2025-11-02T06:00Z"),
    LORD_HOWE: ("2025-04-05T15:00Z", "2025-10-04T15:30Z"),  # by half an hour
    "UTC": ("2025-03-30T01:00Z",),
}
"""Instants at which the clock on the wall changes, from the law of each place."""


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def schedule(start: str, end: str, zone: str = "UTC", replicas: int = 1) -> Schedule:
    return Schedule(parse(start), parse(end), ZoneInfo(zone), zone, replicas)


def windows(of: Schedule, begin: str, end: str) -> list[str]:
    """The windows between two instants, as the zone's clock shows them, found by following one change after the other."""
    at, shown = instant(begin), list[str]()
    while at < instant(end):
        inside, change = of.within(at), of.change(at)
        assert change is not None
        assert change > at
        if inside:
            first, last = (datetime.fromtimestamp(moment, of.zone) for moment in (at, change))
            shown.append(f"{first:%d %H:%M%z} to {last:%d %H:%M%z}")
        at = change
    return shown


def test_the_start_belongs_to_the_window_and_the_end_does_not() -> None:
    office = schedule("0 8 * * mon-fri", "0 18 * * mon-fri", BERLIN)
    friday = "2026-11-27T"
    assert [office.within(instant(f"{friday}{time}+01:00")) for time in ("07:59:59.9", "08:00", "17:59:59.9", "18:00")] == [
        False, True, True, False,
    ]  # fmt: skip
    assert office.change(instant(f"{friday}09:00+01:00")) == instant(f"{friday}18:00+01:00")
    assert office.change(instant(f"{friday}18:00+01:00")) == instant("2026-11-30T08:00+01:00")


def test_the_last_of_several_starts_and_of_several_ends_counts() -> None:
    """As for KEDA, which asks whether the end comes before the start."""
    several = schedule("0 8,9 * * *", "0 18,19 * * *")
    assert windows(several, "2026-01-01T00:00Z", "2026-01-02T00:00Z") == ["01 09:00+0000 to 01 19:00+0000"]
    often = schedule("* 8-17 * * *", "0 18 * * *")
    assert windows(often, "2026-01-01T00:00Z", "2026-01-02T00:00Z") == ["01 17:59+0000 to 01 18:00+0000"]


def test_an_end_and_a_start_at_once_go_on() -> None:
    always = schedule("0 8 * * *", "0 8,18 * * *")
    at = instant("2026-01-01T00:00Z")
    assert always.within(at)
    change = always.change(at)
    assert change is not None
    assert all(always.within(at + hours * 3600) for hours in range(48))
    assert always.within(change)  # further than is looked
    assert change > instant("2026-01-05T00:00Z")


@pytest.mark.parametrize(
    ("zone", "start", "end", "begin", "expected"),
    [
        # The night is as long as the clock makes it.
        (BERLIN, "0 22 * * *", "0 6 * * *", "2025-03-29T12:00Z", ["29 22:00+0100 to 30 06:00+0200"]),
        (BERLIN, "0 22 * * *", "0 6 * * *", "2025-10-25T12:00Z", ["25 22:00+0200 to 26 06:00+0100"]),
        (NEW_YORK, "0 22 * * *", "0 6 * * *", "2025-03-08T17:00Z", ["08 22:00-0500 to 09 06:00-0400"]),
        (NEW_YORK, "0 22 * * *", "0 6 * * *", "2025-11-01T17:00Z", ["01 22:00-0400 to 02 06:00-0500"]),
        (LORD_HOWE, "0 22 * * *", "0 6 * * *", "2025-04-05T02:00Z", ["05 22:00+1100 to 06 06:00+1030"]),
        (LORD_HOWE, "0 22 * * *", "0 6 * * *", "2025-10-04T02:00Z", ["04 22:00+1030 to 05 06:00+1100"]),
        ("UTC", "0 22 * * *", "0 6 * * *", "2025-03-29T12:00Z", ["29 22:00+0000 to 30 06:00+0000"]),
        # The day of the change begins and ends as every day.
        (BERLIN, "0 8 * * *", "0 18 * * *", "2025-03-29T22:00Z", ["30 08:00+0200 to 30 18:00+0200"]),
        (LORD_HOWE, "0 3 * * *", "0 4 * * *", "2025-10-04T12:00Z", ["05 03:00+1100 to 05 04:00+1100"]),
        # A start that does not exist: the window before goes on, as there is nothing to begin. Warm instead of cold.
        (BERLIN, "30 2 * * *", "0 18 * * *", "2025-03-29T12:00Z", ["29 12:00+0000 to 30 18:00+0200"]),
        # An end that does not exist: of the two starts before the next end the last one counts.
        (BERLIN, "0 1 * * *", "30 2 * * *", "2025-03-29T12:00Z", ["31 01:00+0200 to 31 02:30+0200"]),
        # Half an hour that does not exist.
        (LORD_HOWE, "15 2 * * *", "0 3 * * *", "2025-10-04T12:00Z", ["04 12:00+0000 to 05 03:00+1100"]),
        # An hour that comes twice: so do a start and an end in it.
        (
            BERLIN, "15 2 * * *", "45 2 * * *", "2025-10-25T12:00Z",
            ["26 02:15+0200 to 26 02:45+0200", "26 02:15+0100 to 26 02:45+0100"],
        ),
        (BERLIN, "30 1 * * *", "30 2 * * *", "2025-10-25T12:00Z", ["26 01:30+0200 to 26 02:30+0100"]),
        (BERLIN, "30 2 * * *", "0 18 * * *", "2025-10-25T17:00Z", ["26 02:30+0100 to 26 18:00+0100"]),
        (
            NEW_YORK, "15 1 * * *", "45 1 * * *", "2025-11-01T12:00Z",
            ["02 01:15-0400 to 02 01:45-0400", "02 01:15-0500 to 02 01:45-0500"],
        ),
        (LORD_HOWE, "35 1 * * *", "40 1 * * *", "2025-04-05T12:00Z",
            ["06 01:35+1100 to 06 01:40+1100", "06 01:35+1030 to 06 01:40+1030"],
        ),
    ],
)  # fmt: skip
def test_over_a_change_of_the_clock(zone: str, start: str, end: str, begin: str, expected: list[str]) -> None:
    of = schedule(start, end, zone)
    until = datetime.fromisoformat(begin) + timedelta(hours=20 if len(expected) > 1 or "31" not in expected[0] else 40)
    found = windows(of, begin, until.isoformat())
    if of.within(instant(begin)):  # it had begun before
        shown = datetime.fromisoformat(begin)
        found[0] = f"{shown:%d %H:%M%z} to {found[0].partition(' to ')[2]}"
    assert found == expected


def test_the_most_of_several_schedules_counts_and_changes_that_change_nothing_are_passed() -> None:
    morning, noon = schedule("0 8 * * *", "0 12 * * *", replicas=2), schedule("0 12 * * *", "0 18 * * *", replicas=2)
    small = schedule("0 6 * * *", "0 20 * * *", BERLIN)
    every = (morning, noon, small)
    night, day = minimum_at(every, instant("2026-01-01T00:00Z")), minimum_at(every, instant("2026-01-01T09:00Z"))
    assert (night.replicas, night.until, night.then, night.schedule) == (0, instant("2026-01-01T05:00Z"), 1, small)
    assert (day.replicas, day.until, day.then) == (2, instant("2026-01-01T18:00Z"), 1)
    late = minimum_at(every, instant("2026-01-01T18:00Z"))
    assert (late.replicas, late.until, late.then, late.schedule) == (1, instant("2026-01-01T19:00Z"), 0, small)


def test_without_schedules_nothing_is_asked_and_nothing_changes() -> None:
    minimum = minimum_at((), 0.0)
    assert (minimum.replicas, minimum.until, minimum.schedule) == (0, None, None)


@pytest.mark.parametrize(
    ("start", "end"),
    [("0 0 29 2 *", "* * * * *"), ("* * * * *", "0 0 29 2 *"), ("* * * * *", "1-59 * * * *"), ("* * 1 1 *", "* * 2 1 *")],
)
def test_expressions_that_mean_little_cost_little(start: str, end: str) -> None:
    """The work is bounded; ten of them are what an app may have. (tests/support/budget.py limits what a unit test may take.)"""
    every = [schedule(start, end, BERLIN, replicas) for replicas in range(1, 11)]
    for month in range(1, 11):
        minimum = minimum_at(every, instant(f"2026-{month:02}-05T10:00Z"))
        assert minimum.until is None or minimum.until > instant(f"2026-{month:02}-05T10:00Z")


def test_instants_are_shown_as_short_as_they_are_clear() -> None:
    zone, now = ZoneInfo(BERLIN), instant("2026-11-27T10:00Z")
    assert when(instant("2026-11-27T17:00Z"), zone, now) == "18:00"
    assert when(instant("2026-11-30T07:00Z"), zone, now) == "Mon 08:00"
    assert when(instant("2026-12-24T07:00Z"), zone, now) == "2026-12-24 08:00"
    assert when(instant("2026-11-27T17:00Z"), zone) == "2026-11-27 18:00"


# -- against an oracle that looks at every minute --------------------------------------------------------------------


@cache
def shown(zone: str, begin: int, count: int) -> list[tuple[int, ...]]:
    """What a clock shows at each minute: minute, hour, day, month, weekday."""
    clock = ZoneInfo(zone)
    moments = (datetime.fromtimestamp(begin + number * MINUTE, UTC).astimezone(clock) for number in range(count))
    return [(moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7) for moment in moments]


def minutes_of(text: str, zone: str, begin: int, count: int) -> list[bool]:
    """For each minute whether an expression with `*`, numbers and lists names it; days only by their weekday."""
    wanted = [(at, {*map(int, field.split(","))}) for at, field in enumerate(text.split()) if field != "*"]
    return [all(each[at] in values for at, values in wanted) for each in shown(zone, begin, count)]


def activity(starts: Sequence[bool], ends: Sequence[bool]) -> list[bool | None]:
    """Within at a minute: the next minute of either kind is one of an end. None where neither comes any more."""
    within: list[bool | None] = [None] * len(starts)
    for number in range(len(starts) - 2, -1, -1):
        after = number + 1
        within[number] = True if ends[after] else False if starts[after] else within[after]
    return within


HOURS = st.lists(st.integers(0, 4), min_size=1, max_size=2).map(lambda hours: ",".join(map(str, hours)))
TIMES = st.builds(
    lambda minute, hours, weekdays: f"{minute} {hours} * * {weekdays}",
    st.sampled_from((0, 15, 30, 45)),
    HOURS | st.sampled_from(("22", "23", "8", "18", "*")),
    st.sampled_from(("*", "*", "0", "1,6", "0,1")),
)
MINUTES_BEFORE, MINUTES = 900, 2700


@given(TIMES, TIMES, st.sampled_from([(zone, change) for zone in ZONES for change in CHANGES[zone]]), st.integers(0, 1800))
def test_as_an_oracle_that_looks_at_every_minute(start: str, end: str, where: tuple[str, str], later: int) -> None:
    """Days around a change of the clock: what is active, and when that changes."""
    zone, change = where
    begin = int(instant(change)) - MINUTES_BEFORE * MINUTE
    starts, ends = (minutes_of(text, zone, begin, MINUTES) for text in (start, end))
    within = activity(starts, ends)
    of = schedule(start, end, zone)
    at = begin + later * MINUTE
    _check_times(of, starts, begin, at)
    if within[later] is None:
        return  # the next time is beyond the days that the oracle looks at
    assert of.within(at) is within[later]
    assert of.within(at + 59.5) is within[later]
    changes = [number + 1 for number, (one, two) in enumerate(pairwise(within)) if number >= later and one != two]
    found = of.change(at)
    if changes and within[changes[0]] is not None:
        assert found is not None
        expected = begin + changes[0] * MINUTE
        assert found == expected or (found < expected and of.within(found) == within[later])
    elif found is not None and found < begin + (MINUTES - 1) * MINUTE:
        number = (int(found) - begin) // MINUTE
        assert within[number] is None or of.within(found) == within[later]


def _check_times(of: Schedule, starts: Sequence[bool], begin: int, at: int) -> None:
    """The next and the last time of the start."""
    times = [begin + number * MINUTE for number, there in enumerate(starts) if there]
    after, before = [time for time in times if time > at], [time for time in times if time < at]
    if after:
        assert next_after(of.start, of.zone, at) == after[0]
    if before:
        assert last_before(of.start, of.zone, at) == before[-1]
