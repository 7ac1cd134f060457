"""Which waits met a stall of the machine, by what watchers have printed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.stalls import Stalls


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_waits_that_met_a_stall_are_told(pipe: tuple[int, int]) -> None:
    output, watcher = pipe
    stalls = Stalls([output])
    assert stalls.spared([(1.0, 2.0)]) == [True]
    os.write(watcher, b"3.000000 4.000000\n")
    waits = [(2.0, 3.0), (2.0, 3.1), (3.1, 3.2), (2.0, 5.0), (3.9, 5.0), (4.0, 5.0)]
    assert stalls.spared(waits) == [True, False, False, False, False, True]
    assert stalls.met == 4


def test_lines_may_come_in_parts(pipe: tuple[int, int]) -> None:
    output, watcher = pipe
    stalls = Stalls([output])
    os.write(watcher, b"1.000000 2.000000\n2.00")
    assert stalls.spared([(1.5, 1.6), (2.5, 2.6)]) == [False, True]
    os.write(watcher, b"0000 3.000000\n")
    assert stalls.spared([(2.5, 2.6), (3.5, 3.6)]) == [False, True]


def test_without_watchers_no_wait_has_met_one() -> None:
    assert Stalls([]).spared([(1.0, 2.0)]) == [True]
    assert Stalls([]).spared([]) == []
