"""The live table: order, rows omitted on a small terminal, and width."""

from __future__ import annotations

import random

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.segment import SegmentLines

from tests.support.acting import HOSTILE, acting
from weir.engine.live_table import KEPT_LINES, LEAST_ROWS, AppStatus, Row, table_lines

WHY = "failing (3 times): ended with exit code 1: ModuleNotFoundError: No module named 'flask'"


def _sight(name: str, status: AppStatus = AppStatus.ASLEEP, state: str = "", **fields: object) -> Row:
    usual = {"replicas": "1/1", "held": 0, "in_flight": 0, "rps": 0.0, "way": f"{name}.localhost:8080", "url": None}
    return Row(name=name, status=status, state=state or status.name.lower(), **{**usual, **fields})  # type: ignore[arg-type]


def _texts(rows: list[Row], *, width: int = 100, height: int = 24) -> list[str]:
    return ["".join(segment.text for segment in line) for line in table_lines(rows, "title", width=width, height=height)]


def test_troubled_and_awake_apps_come_first_each_in_the_order_of_the_file() -> None:
    moods = [*AppStatus, *AppStatus]
    rows = [_sight(f"{status.name}-{number}", status) for number, status in enumerate(reversed(moods))]
    names = [line.split()[0] for line in _texts(rows)[2:]]
    assert [name.split("-")[0] for name in names] == [status.name for status in AppStatus for _ in range(2)]
    assert all(
        int(first.split("-")[1]) < int(second.split("-")[1]) for first, second in zip(names[::2], names[1::2], strict=True)
    )


def test_what_does_not_fit_is_counted_and_that_is_what_sleeps() -> None:
    rows = [_sight(f"s{number}") for number in range(30)] + [
        _sight("up", AppStatus.AWAKE),
        _sight("bad", AppStatus.TROUBLED, WHY),
    ]
    lines = _texts(rows, height=24)
    assert len(lines) == 24 - KEPT_LINES
    assert [lines[2].split()[0], lines[3].split()[0], lines[4].split()[0]] == ["bad", "up", "s0"]
    left_out = 32 - (len(lines) - 3)
    assert lines[-1] == f"{left_out} more asleep"
    assert _texts(rows, height=200)[-1].startswith("s29")


def test_so_many_awake_that_they_do_not_fit_are_counted_apart() -> None:
    rows = [_sight(f"a{number}", AppStatus.AWAKE) for number in range(40)] + [_sight(f"s{number}") for number in range(1200)]
    assert _texts(rows, height=24)[-1] == f"{40 - 13} more awake, 1,200 more asleep"


@pytest.mark.parametrize("height", range(1, 40))
@pytest.mark.parametrize("count", [0, 1, 3, 4, 100])
def test_the_table_fits_the_terminal(height: int, count: int) -> None:
    lines = _texts([_sight(f"s{number}") for number in range(count)], height=height)
    assert len(lines) <= max(height, LEAST_ROWS + 2)
    assert len(lines) <= count + 2 or "more asleep" in lines[-1]


@pytest.mark.parametrize("width", [1, 10, 20, 40, 79, 80, 120, 300])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    wide = _sight("名前" * 20, AppStatus.AWAKE, "状態" * 30, way="場所" * 90)
    rows = [_sight("a"), wide, _sight("bad", AppStatus.TROUBLED, WHY * 3)]
    assert all(cell_len(line) <= width for line in _texts(rows, width=width))


def test_eighty_columns_show_where_apps_are_and_why_they_fail() -> None:
    rows = [_sight("hello", AppStatus.AWAKE, "ready"), _sight("bad", AppStatus.TROUBLED, WHY), _sight("ticker")]
    lines = _texts(rows, width=80)
    assert lines[3].endswith("ready   hello.localhost:8080")
    assert "failing (3 times): ended with " in lines[2]
    assert lines[4].endswith("asleep  ticker.localhost:8080")


def test_an_address_is_a_whole_url_where_it_fits() -> None:
    rows = [_sight("a", url="http://a.localhost:8080/")]
    assert _texts(rows, width=120)[2].endswith("  http://a.localhost:8080/")
    assert _texts(rows, width=70)[2].endswith("  a.localhost:8080")


def test_states_have_colours() -> None:
    rows = [_sight("a", status) for status in AppStatus]
    lines = table_lines(rows, "title", width=120, height=40)[2:]
    styles = {
        str(segment.style)
        for line, status in zip(lines, AppStatus, strict=True)
        for segment in line
        if status.name.lower() in segment.text
    }
    assert len(styles) == len(AppStatus)


def test_nothing_that_others_have_written_acts_on_the_terminal() -> None:
    rows = [_sight(HOSTILE, status, HOSTILE, way=HOSTILE) for status in AppStatus]
    console = Console(force_terminal=True, color_system="standard", width=4000, height=50)
    with console.capture() as capture:
        console.print(SegmentLines(table_lines(rows, HOSTILE, width=4000, height=50), new_lines=True))
    assert not acting(capture.get(), colours=True, lines=True)


def test_the_work_follows_the_rows_that_are_shown_and_not_the_apps_that_there_are() -> None:
    """Counted in segments, which the console processes one by one."""
    rng = random.Random(1)
    few = [_sight(f"s{number}", rng.choice(list(AppStatus))) for number in range(50)]
    many = few * 100
    assert (
        sum(map(len, table_lines(many, "t", width=120, height=40)))
        <= sum(map(len, table_lines(few, "t", width=120, height=40))) + 20
    )
