"""Server-sent events, however their bytes arrive."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.apps import events as module
from weir.apps.events import EventError, events

STREAM = (
    b': still there\n\nevent: progress\ndata: {"a":\ndata: 1}\nid: 7\n\nevent: empty\n\r\ndata:x\r\n\r\nevent: last\ndata: cut'
)


@given(st.lists(st.integers(0, len(STREAM))))
def test_any_split(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(at)]
    assert [event for event in events(pieces) if event is not None] == [("progress", '{"a":\n1}'), ("message", "x")]


def test_each_piece_lets_the_caller_look_at_the_clock() -> None:
    assert [*events([b":\n", b":\n"])] == [None, None]


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: " + b"x" * 30 + b"\n", b"data\n" * 5])
def test_what_does_not_end_is_cut(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENT_BYTES", 50)
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield piece

    with pytest.raises(EventError):
        for _ in events(endless()):  # type: ignore[arg-type]
            pass
    assert taken <= 3


def test_an_event_of_many_lines_takes_no_time() -> None:
    began = time.process_time()
    (found,) = [event for event in events([b"data:x\n" * 300_000 + b"\n"]) if event is not None]
    assert len(found[1]) == 2 * 300_000 - 1
    assert time.process_time() - began < 2
