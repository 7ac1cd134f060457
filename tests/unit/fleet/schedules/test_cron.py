"""Cron expressions: what is taken, what is refused, and the times that they name on a clock without a zone."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.schedules.cron import MAX_CRON, MINUTES_OF_DAY, Cron, CronError, parse
from fleet.schedules.windows import next_after

VECTORS = Path(__file__).with_name("robfig_cron.jsonl")
"""What robfig/cron v3.0.1 with its five-field parser said: [expression, zone, instant, the next instant or null if refused]."""
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # a wall clock without a zone


def minute(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(minutes=1)


def shown(minutes: int | None) -> str | None:
    return None if minutes is None else (EPOCH + timedelta(minutes=minutes)).isoformat(" ", "minutes")


def test_as_kedas_own_parser() -> None:
    rows = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    assert len(rows) == 300
    for text, zone, after, expected in rows:
        if expected is None:
            with pytest.raises(CronError):
                parse(text)
        else:
            assert next_after(parse(text), ZoneInfo(zone), after) == expected, (text, zone, after)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 fields instead of five"),
        ("0 8 * *", "4 fields instead of five"),
        ("0 0 8 * * *", "6 fields instead of five"),
        ("@daily", "no expression of five fields"),
        ("CRON_TZ=UTC 0 8 * * *", "6 fields"),
        ("60 8 * * *", "minute: 60 is not from 0 to 59"),
        ("0 24 * * *", "hour: 24 is not from 0 to 23"),
        ("0 8 0 * *", "day of month: 0 is not from 1 to 31"),
        ("0 8 * 13 *", "month: 13 is not from 1 to 12"),
        ("0 8 * * 7", "day of week: 7 is not from 0 to 6; Sunday is 0"),
        ("0 8 * * monday", "day of week: 'monday' is no number, name, range or step"),
        ("0 8 * mon *", "month: 'mon' is no number"),
        ("0 8 * * fri-mon", "day of week: 'fri-mon' begins after its end"),
        ("0 8 L * *", "day of month: 'L' is no number"),
        ("0 8 * * 1#2", "day of week: '1#2' is no number"),
        ("*/0 8 * * *", "minute: the step of '*/0' is no number above 0"),
        ("*/x 8 * * *", "minute: the step of '*/x' is no number above 0"),
        ("1/2/3 8 * * *", "minute: the step of '1/2/3'"),
        ("1-2-3 8 * * *", "minute: '1-2-3' is no number"),
        ("*-5 8 * * *", "minute: '*-5' is no number"),
        ("1,,2 8 * * *", "minute: '' is no number"),
        ("-1 8 * * *", "minute: '-1' is no number"),
        ("+5 8 * * *", "minute: '+5' is no number"),
        ("٣ 8 * * *", "minute: '٣' is no number"),
        ("0 8 30 2 *", "day of month: 30 is in none of the months 2"),
        ("0 8 31 4,6,9,11 *", "day of month: 31 is in none of the months"),
        ("0 8 * * 1\n", "day of week"),
        ("0" * (MAX_CRON + 1), "longer than 128 characters"),
        ("9" * 100 + " * * * *", "minute: "),
    ],
)
def test_what_is_refused_names_the_field(text: str, why: str) -> None:
    with pytest.raises(CronError, match=re.escape(why)):
        parse(text)


@pytest.mark.parametrize(
    ("text", "after", "first", "last"),
    [
        ("0 8 * * mon-fri", "2026-11-27 08:00", "2026-11-27 08:00", "2026-11-27 08:00"),
        ("0 8 * * mon-fri", "2026-11-27 08:01", "2026-11-30 08:00", "2026-11-27 08:00"),
        ("30/15 7-9 * JAN,Dec ?", "2026-11-27 08:00", "2026-12-01 07:30", "2026-01-31 09:45"),
        ("0 0 29 2 *", "2026-11-27 08:00", "2028-02-29 00:00", "2024-02-29 00:00"),
        ("0 0 29 2 *", "2097-01-01 00:00", "2104-02-29 00:00", "2096-02-29 00:00"),
        ("0 0 13 * fri", "2026-11-27 08:00", "2026-12-04 00:00", "2026-11-27 00:00"),  # either of the two
        ("0 0 */2 * fri", "2026-11-27 08:00", "2026-11-29 00:00", "2026-11-27 00:00"),  # a step above 1 is no star
        ("0 0 */1 * fri", "2026-11-28 08:00", "2026-12-04 00:00", "2026-11-27 00:00"),
        ("0 0 31 * *", "2026-11-01 00:00", "2026-12-31 00:00", "2026-10-31 00:00"),
        ("0 0 31 2 mon", "2026-11-27 08:00", "2027-02-01 00:00", "2026-02-23 00:00"),  # never the 31st, but Mondays
    ],
)
def test_the_first_time_from_a_minute_on_and_the_last_up_to_it(text: str, after: str, first: str, last: str) -> None:
    cron = parse(text)
    assert shown(cron.next_wall(minute(after))) == first
    assert shown(cron.last_wall(minute(after))) == last


def test_blanks_around_and_between_do_not_matter() -> None:
    assert parse(" 0\t8  * * 1 ").text == "0 8 * * 1"


def _values(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.builds(lambda a, b: f"{min(a, b)}-{max(a, b)}", number, number)
    steps = st.builds(lambda span, step: f"{span}/{step}", st.one_of(st.just("*"), spans, number.map(str)), st.integers(1, high))
    return st.lists(st.one_of(st.just("*"), number.map(str), spans, steps), min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(_values(0, 59), _values(0, 23), _values(1, 31), _values(1, 12), _values(0, 6)).map(" ".join)


def fits(cron: Cron, at: int) -> bool:
    return cron.next_wall(at) == at


@given(EXPRESSIONS, st.integers(minute("2020-01-01 00:00"), minute("2030-01-01 00:00")))
def test_what_is_found_fits_and_nothing_between_does(text: str, at: int) -> None:
    try:
        cron = parse(text)
    except CronError:
        return  # a day that no month has
    first, last = cron.next_wall(at), cron.last_wall(at)
    assert first is not None
    assert last is not None
    assert last <= at <= first
    assert fits(cron, first)
    assert fits(cron, last)
    assert (first == at) == (last == at)
    if first > at:
        assert cron.last_wall(first - 1) == last
        assert cron.next_wall(last + 1) == first
    day = first // MINUTES_OF_DAY
    assert first - day * MINUTES_OF_DAY in cron.minutes
