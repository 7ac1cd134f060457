"""From what people write to a schedule, or to an error that names the field."""

from __future__ import annotations

import zoneinfo
from typing import Any

import pytest

from fleet.schedules.declared import ScheduleError, schedule_of

OFFICE: dict[str, Any] = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "replicas": 2}


def test_it_is_taken() -> None:
    made = schedule_of(**OFFICE)
    assert (made.timezone, str(made.zone), made.replicas, made.start.text) == ("Europe/Berlin", "Europe/Berlin", 2, "0 8 * * 1-5")


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"start": "0 8 * * 7"}, "start", "day of week: 7"),
        ({"end": "0 25 * * 1"}, "end", "hour: 25"),
        ({"end": "0 8 * * 1-5"}, "end", "is the same as the start"),
        ({"end": "00 8 * * mon-fri"}, "end", "is the same as the start"),
        ({"replicas": 0}, "replicas", "less than 1"),
        ({"timezone": "Europe/Bärlin"}, "timezone", "is no time zone"),
        ({"timezone": "Europe"}, "timezone", "is no time zone"),
        ({"timezone": ""}, "timezone", "is no time zone"),
        ({"timezone": "Local"}, "timezone", "is no time zone"),
        ({"timezone": "right/Europe/Berlin"}, "timezone", "is no time zone"),
        ({"timezone": "../Europe/Berlin"}, "timezone", "is no time zone"),
        ({"timezone": "/etc/localtime"}, "timezone", "is no time zone"),
        ({"timezone": "leapseconds"}, "timezone", "is no time zone"),
        ({"timezone": "UTC\x00"}, "timezone", "is no time zone"),
        ({"timezone": "A/" * 5000 + "A"}, "timezone", "is no time zone"),
    ],
)
def test_an_error_names_the_field(changed: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(ScheduleError, match=reason) as caught:
        schedule_of(**OFFICE | changed)
    assert caught.value.field == field
    assert len(str(caught.value)) < 300


def test_a_machine_without_files_of_zones_knows_them_all_the_same() -> None:
    """Minimal images have none: then they come from the package tzdata."""
    zoneinfo.reset_tzpath(to=())
    try:
        zoneinfo.ZoneInfo.clear_cache()
        assert schedule_of(**OFFICE | {"timezone": "Pacific/Chatham"}).timezone == "Pacific/Chatham"
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()
