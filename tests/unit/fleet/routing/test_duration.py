"""Times as people write them."""

from __future__ import annotations

import re

import pytest

from fleet.routing.duration import DURATION_PATTERN, seconds

GOOD: list[tuple[object, float]] = [
    (5, 5.0), (0.25, 0.25), ("5", 5.0), ("0.5", 0.5), ("500ms", 0.5), ("10s", 10.0), (" 90s ", 90.0), ("1m30s", 90.0),
    ("1h1m1s1ms", 3661.001), ("1.5h", 5400.0), ("0", 0.0), ("0.1s0.2s", 0.3),
]  # fmt: skip
BAD: list[object] = [
    "", "soon", "s", "1x", "1 s", "1m 30s", "-1s", "-1", "+1", "1e3", "inf", "nan", ".5s", "1.s", "1m30", "\u0661s", "1" * 65,
    True, None, [], {},
]  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), GOOD)
def test_what_is_a_time(written: object, expected: float) -> None:
    assert seconds(written) == expected
    assert not isinstance(written, str) or re.fullmatch(DURATION_PATTERN, written.strip())


@pytest.mark.parametrize("written", BAD)
def test_what_is_none(written: object) -> None:
    with pytest.raises(ValueError, match="should be seconds, or a duration like 500ms, 10s, 1m30s"):
        seconds(written)
