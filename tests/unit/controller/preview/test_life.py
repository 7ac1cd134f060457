"""When the time of a Preview is over."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from controller.preview.life import KEEP_UNTIL, life_of, read_time, write_time
from controller.preview.resource import MAX_TTL, Preview, parse_preview
from tests.unit.controller.objects import CREATED, raw

BEGAN = read_time(CREATED) or 0.0
DAY = 86400.0


def preview(last_used: str = "", **spec: Any) -> Preview:
    whole = raw("f1", spec={"base": "web", **spec}, status={"lastUsed": last_used} if last_used else {})
    return parse_preview(json.dumps(whole).encode())


def test_without_a_time_to_live_it_lives() -> None:
    assert life_of(preview(), None).ends is None
    assert life_of(preview(), BEGAN + 5).left(1e12) is None


def test_each_use_extends_it_and_one_used_once_a_day_outlives_its_time() -> None:
    for day in range(1, 30):
        life = life_of(preview(ttl="25h"), BEGAN + day * DAY)
        assert life.ends == BEGAN + day * DAY + 25 * 3600
        assert life.left(BEGAN + (day + 1) * DAY) == 3600
    assert life_of(preview(ttl="25h"), None).left(BEGAN + 30 * DAY) == 0


def test_after_its_creation_no_use_extends_it() -> None:
    life = life_of(preview(ttl="24h", expires="AfterCreation"), BEGAN + DAY / 2)
    assert (life.ends, life.last_used) == (BEGAN + DAY, BEGAN + DAY / 2)


@pytest.mark.parametrize("last_active", [None, BEGAN + 1])
def test_what_was_known_before_is_not_forgotten(last_active: float | None) -> None:
    """A ScaledObject that was made anew knows nothing of earlier uses."""
    used = preview(write_time(BEGAN + DAY), ttl="1h")
    assert life_of(used, last_active).ends == BEGAN + DAY + 3600


@pytest.mark.parametrize(
    ("until", "ends"),
    [
        (write_time(BEGAN + 7200), BEGAN + 7200),
        (write_time(BEGAN + 60), BEGAN + 3600),
        ("0001-01-01T00:00:00+14:00", BEGAN + 3600),
        ("2999-01-01T00:00:00", BEGAN + 3600),
        ("9999-12-31T23:59:59-14:00", BEGAN + MAX_TTL),
        ("soon", BEGAN + 3600),
    ],
)
def test_somebody_keeps_it_for_longer(until: str, ends: float) -> None:
    for spec in ({"ttl": "1h"}, {"ttl": "1h", "expires": "AfterCreation"}):
        kept = preview(**spec)
        kept = msgspec.structs.replace(kept, meta=msgspec.structs.replace(kept.meta, annotations={KEEP_UNTIL: until}))
        assert life_of(kept, None).ends == ends
    assert life_of(msgspec.structs.replace(kept, ttl=None), None).ends is None


def test_times() -> None:
    assert (read_time(""), read_time("junk"), write_time(None)) == (None, None, "")
    assert write_time(BEGAN) == CREATED
