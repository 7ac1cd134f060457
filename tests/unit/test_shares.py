"""Files are divided among processes so that every file runs once."""

from __future__ import annotations

import pytest

from tests.support.shares import one_code, shares

SIZES = {"tests/d": 10, "tests/c": 20, "tests/b": 30, "tests/a": 10, "tests/e": 60}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [["tests/a", "tests/b", "tests/c", "tests/d", "tests/e"]]),
        (2, [["tests/d", "tests/e"], ["tests/a", "tests/b", "tests/c"]]),
        (5, [["tests/e"], ["tests/b"], ["tests/c"], ["tests/a"], ["tests/d"]]),
        (9, [["tests/e"], ["tests/b"], ["tests/c"], ["tests/a"], ["tests/d"]]),
    ],
)
def test_every_file_is_in_one_share(count: int, expected: list[list[str]]) -> None:
    assert shares(SIZES, count) == expected


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0), 0), ((0, 1), 1), ((2, 0), 2), ((0, 5), 0), ((5, 5), 5), ((5, 1), 1), ((5, 4, 1), 4), ((-9, 0), -9), ((0,), 0)],
)
def test_one_failure_is_the_failure_of_all(codes: tuple[int, ...], expected: int) -> None:
    assert one_code(codes) == expected
