"""Framing is taken off in bounded parts: one at once, the others one a turn, in their order, and then the end."""

from __future__ import annotations

from fleet.runtime.backlog import Backlog, Behind
from interceptor.core.messages import Fields
from interceptor.http1.chunked import LINES_AT_ONCE, ChunkedReader
from interceptor.http2.framed_body import FramedBody

TINY = b"1\r\na\r\n"
PARTS = [TINY * 10, b"1\r\nb\r\n1\r", b"\nc\r\n", b"0\r\nSum: 7\r\nHost: x\r\n\r\n"]


class Turns(Backlog):
    """Turns that a test takes."""

    def __init__(self) -> None:
        super().__init__()
        self.behind: list[Behind] = []

    def add(self, one: Behind) -> None:
        self.behind.append(one)

    def take(self) -> None:
        self.behind = [one for one in self.behind if one.catch_up()]


class Stage:
    def __init__(self) -> None:
        self.turns = Turns()
        self.sent: list[bytes] = []
        self.ends: list[Fields] = []
        self.body = FramedBody(ChunkedReader(plain=True), self.turns, self.sent.append, self.ends.append)


def test_what_was_kept_is_read_a_part_a_turn() -> None:
    stage = Stage()
    for at, part in enumerate(PARTS):
        stage.body.add(part, later=at > 0)
    stage.body.end()
    assert (stage.sent, stage.ends, stage.body.ended) == ([b"a" * 10], [], False)
    stage.turns.take()
    assert (stage.sent[1:], stage.ends) == ([b"b"], [])
    stage.turns.take()
    assert (stage.sent[2:], stage.ends) == ([b"c"], [])
    stage.turns.take()
    assert (stage.ends, stage.body.ended, stage.turns.behind) == ([((b"sum", b"7"),)], True, [])


def test_what_comes_while_others_wait_goes_behind_them() -> None:
    stage = Stage()
    stage.body.add(b"1\r\na\r\n")
    stage.body.add(b"1\r\nb\r\n", later=True)
    stage.body.add(b"1\r\nc\r\n")
    assert stage.sent == [b"a"]
    for _ in range(2):
        stage.turns.take()
    stage.body.add(b"1\r\nd\r\n")
    assert stage.sent == [b"a", b"b", b"c", b"d"]
    assert stage.turns.behind == []


def test_one_part_with_many_lines_takes_several_turns() -> None:
    stage = Stage()
    stage.body.add(TINY * LINES_AT_ONCE * 2 + b"0\r\n\r\n")
    stage.body.end()
    counts = [len(stage.sent[0])]
    while stage.turns.behind:
        stage.turns.take()
        counts.append(sum(map(len, stage.sent)))
    assert counts[-1] == LINES_AT_ONCE * 2
    assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) <= LINES_AT_ONCE
    assert stage.ends == [()]


def test_nothing_goes_on_once_it_is_cancelled() -> None:
    stage = Stage()
    for part in PARTS:
        stage.body.add(part, later=True)
    stage.body.end()
    stage.turns.take()
    sent = list(stage.sent)
    stage.body.cancel()
    stage.turns.take()
    assert (stage.sent, stage.ends, stage.turns.behind, stage.body.ended) == (sent, [], [], False)


def test_the_end_of_what_was_read_at_once_is_reported_at_once() -> None:
    stage = Stage()
    stage.body.add(b"1\r\na\r\n0\r\n\r\n")
    assert stage.ends == []
    stage.body.end()
    assert stage.ends == [()]
