"""The live table: its order, what it leaves out of a terminal that is too small, and how wide it is."""

from __future__ import annotations

import random

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.segment import SegmentLines

from tests.support.acting import HOSTILE, acting
from weir.engine.board import KEPT_LINES, LEAST_ROWS, Mood, Sight, board

WHY = "failing (3 times): ended with exit code 1: ModuleNotFoundError: No module named 'flask'"


def _sight(name: str, mood: Mood = Mood.ASLEEP, state: str = "", **fields: object) -> Sight:
    usual = {"replicas": "1/1", "held": 0, "in_flight": 0, "rps": 0.0, "way": f"{name}.localhost:8080", "url": None}
    return Sight(name=name, mood=mood, state=state or mood.name.lower(), **{**usual, **fields})  # type: ignore[arg-type]


def _texts(sights: list[Sight], *, width: int = 100, height: int = 24) -> list[str]:
    return ["".join(segment.text for segment in line) for line in board(sights, "title", width=width, height=height)]


def test_troubled_and_awake_apps_come_first_each_in_the_order_of_the_file() -> None:
    moods = [*Mood, *Mood]
    sights = [_sight(f"{mood.name}-{number}", mood) for number, mood in enumerate(reversed(moods))]
    names = [line.split()[0] for line in _texts(sights)[2:]]
    assert [name.split("-")[0] for name in names] == [mood.name for mood in Mood for _ in range(2)]
    assert all(
        int(first.split("-")[1]) < int(second.split("-")[1]) for first, second in zip(names[::2], names[1::2], strict=True)
    )


def test_what_does_not_fit_is_counted_and_that_is_what_sleeps() -> None:
    sights = [_sight(f"s{number}") for number in range(30)] + [_sight("up", Mood.AWAKE), _sight("bad", Mood.TROUBLED, WHY)]
    lines = _texts(sights, height=24)
    assert len(lines) == 24 - KEPT_LINES
    assert [lines[2].split()[0], lines[3].split()[0], lines[4].split()[0]] == ["bad", "up", "s0"]
    left_out = 32 - (len(lines) - 3)
    assert lines[-1] == f"{left_out} more asleep"
    assert _texts(sights, height=200)[-1].startswith("s29")


def test_so_many_awake_that_they_do_not_fit_are_counted_apart() -> None:
    sights = [_sight(f"a{number}", Mood.AWAKE) for number in range(40)] + [_sight(f"s{number}") for number in range(1200)]
    assert _texts(sights, height=24)[-1] == f"{40 - 13} more awake, 1,200 more asleep"


@pytest.mark.parametrize("height", range(1, 40))
@pytest.mark.parametrize("count", [0, 1, 3, 4, 100])
def test_the_table_fits_the_terminal(height: int, count: int) -> None:
    lines = _texts([_sight(f"s{number}") for number in range(count)], height=height)
    assert len(lines) <= max(height, LEAST_ROWS + 2)
    assert len(lines) <= count + 2 or "more asleep" in lines[-1]


@pytest.mark.parametrize("width", [1, 10, 20, 40, 79, 80, 120, 300])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    wide = _sight("名前" * 20, Mood.AWAKE, "状態" * 30, way="場所" * 90)
    sights = [_sight("a"), wide, _sight("bad", Mood.TROUBLED, WHY * 3)]
    assert all(cell_len(line) <= width for line in _texts(sights, width=width))


def test_eighty_columns_show_where_apps_are_and_why_they_fail() -> None:
    sights = [_sight("hello", Mood.AWAKE, "ready"), _sight("bad", Mood.TROUBLED, WHY), _sight("ticker")]
    lines = _texts(sights, width=80)
    assert lines[3].endswith("ready   hello.localhost:8080")
    assert "failing (3 times): ended with " in lines[2]
    assert lines[4].endswith("asleep  ticker.localhost:8080")


def test_an_address_is_a_whole_url_where_it_fits() -> None:
    sights = [_sight("a", url="http://a.localhost:8080/")]
    assert _texts(sights, width=120)[2].endswith("  http://a.localhost:8080/")
    assert _texts(sights, width=70)[2].endswith("  a.localhost:8080")


def test_states_have_colours() -> None:
    sights = [_sight("a", mood) for mood in Mood]
    lines = board(sights, "title", width=120, height=40)[2:]
    styles = {
        str(segment.style)
        for line, mood in zip(lines, Mood, strict=True)
        for segment in line
        if mood.name.lower() in segment.text
    }
    assert len(styles) == len(Mood)


def test_nothing_that_others_have_written_acts_on_the_terminal() -> None:
    sights = [_sight(HOSTILE, mood, HOSTILE, way=HOSTILE) for mood in Mood]
    console = Console(force_terminal=True, color_system="standard", width=4000, height=50)
    with console.capture() as capture:
        console.print(SegmentLines(board(sights, HOSTILE, width=4000, height=50), new_lines=True))
    assert not acting(capture.get(), colours=True, lines=True)


def test_the_work_follows_the_rows_that_are_shown_and_not_the_apps_that_there_are() -> None:
    """Counted in segments, which is what a console works through."""
    rng = random.Random(1)
    few = [_sight(f"s{number}", rng.choice(list(Mood))) for number in range(50)]
    many = few * 100
    assert sum(map(len, board(many, "t", width=120, height=40))) <= sum(map(len, board(few, "t", width=120, height=40))) + 20
