"""A process with much output gets a bounded part of a turn of the event loop, and is not read while work is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from fleet.runtime.backlog import SLICE_SECONDS, Backlog
from weir.engine.lines import MAX_LINE, PART_BYTES, PART_LINES, ROOM_PAUSE, Lines, always

READ = 64 * 1024


class Pipe(asyncio.ReadTransport):
    """Reports whether it is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.closing = False

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        assert not self.closing
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing


class Stage:
    """Processes whose parts take a given time each."""

    def __init__(self, *, takes: float = SLICE_SECONDS, has_room: Callable[[], bool] = always) -> None:
        self.now, self.takes, self.has_room = 0.0, takes, has_room
        self.backlog = Backlog(lambda: self.now)
        self.parts: list[tuple[str, list[str]]] = []

    def process(self, name: str) -> tuple[Lines, Pipe]:
        def tell(lines: Sequence[str]) -> None:
            self.now += self.takes
            self.parts.append((name, list(lines)))

        lines, pipe = Lines(tell, self.backlog, self.has_room), Pipe()
        lines.connection_made(pipe)
        return lines, pipe

    async def turn(self) -> list[tuple[str, list[str]]]:
        before = len(self.parts)
        await asyncio.sleep(0)
        return self.parts[before:]


async def test_a_read_full_of_lines_is_reported_in_parts_one_in_each_turn() -> None:
    stage = Stage()
    lines, pipe = stage.process("a")
    lines.data_received(b"y\n" * (READ // 2))
    assert stage.parts == []
    told = 0
    while told < READ // 2:
        assert not pipe.reading
        ((_, part),) = await stage.turn()
        assert part == ["y"] * len(part)
        assert 0 < len(part) <= PART_LINES
        told += len(part)
    await stage.turn()
    assert pipe.reading
    assert lines.passed_on == lines.received == READ
    assert not stage.backlog


@pytest.mark.parametrize(
    "line", [b"\n", b"x" * 99 + b"\n", b"x" * MAX_LINE + b"\n", b"x" * READ], ids=["empty", "100", "8k", "endless"]
)
async def test_a_part_is_bounded_in_lines_and_in_bytes(line: bytes) -> None:
    stage = Stage()
    lines, _ = stage.process("a")
    lines.data_received(line * (READ // len(line)))
    while stage.backlog:
        await stage.turn()
    assert stage.parts
    for _, part in stage.parts:
        assert len(part) <= PART_LINES
        assert sum(map(len, part)) < PART_BYTES + MAX_LINE


async def test_all_together_have_one_slice_of_a_turn_and_each_its_part() -> None:
    stage = Stage(takes=SLICE_SECONDS / 3.5)
    pipes = []
    for number in range(100):
        lines, pipe = stage.process(str(number))
        lines.data_received(b"y\n" * 10_000)
        pipes.append(pipe)
    quiet, _ = stage.process("quiet")
    quiet.data_received(b"hello\n")
    turns = [await stage.turn() for _ in range(26)]
    assert {len(turn) for turn in turns} == {4}
    names = [name for turn in turns for name, _ in turn]
    assert names[:101] == [*map(str, range(100)), "quiet"]
    assert not any(pipe.reading for pipe in pipes)


async def test_without_room_lines_are_neither_passed_on_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    room, timers = [False], list[tuple[float, Callable[[], None]]]()
    stage = Stage(has_room=lambda: room[0])
    lines, pipe = stage.process("a")
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda delay, f, *of: timers.append((delay, lambda: f(*of))))
    lines.data_received(b"one\ntwo\n")
    assert await stage.turn() == []
    for _ in range(3):
        delay, again = timers.pop()
        assert delay == ROOM_PAUSE
        assert timers == []
        assert not stage.backlog
        assert not pipe.reading
        again()
        assert await stage.turn() == []
    room[0] = True
    timers.pop()[1]()
    assert await stage.turn() == [("a", ["one", "two"])]
    assert pipe.reading


async def test_the_end_is_reported_after_the_last_part() -> None:
    stage = Stage()
    lines, _ = stage.process("a")
    lines.data_received(b"y\n" * 100 + b"rest")
    lines.connection_lost(None)
    while stage.backlog:
        assert not lines.ended.is_set()
        await stage.turn()
    assert lines.ended.is_set()
    assert [line for _, part in stage.parts for line in part] == ["y"] * 100 + ["rest"]


async def test_what_nobody_waits_for_is_said_to_be_left_out() -> None:
    stage = Stage()
    lines, pipe = stage.process("a")
    lines.data_received(b"y\n" * 100)
    await stage.turn()
    pipe.closing = True
    lines.abandon()
    await stage.turn()
    assert [line for _, part in stage.parts for line in part] == ["y"] * PART_LINES + ["… the last lines left out"]
    assert not stage.backlog


async def test_nothing_is_said_of_a_line_that_has_no_end_yet() -> None:
    stage = Stage()
    lines, pipe = stage.process("a")
    lines.data_received(b"one\ntwo")
    await stage.turn()
    pipe.closing = True
    lines.abandon()
    lines.connection_lost(None)
    await stage.turn()
    assert [line for _, part in stage.parts for line in part] == ["one", "two"]
    assert lines.ended.is_set()
