"""The live table of `weir up` as terminal lines: which apps are shown, in which order, and how wide the columns are. Pure.

Does not use rich's tables: they take half a millisecond per row, on the event loop that also carries requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from fleet.runtime.terminal import one_line

__all__ = ["AppStatus", "Line", "Row", "table_lines"]

KEPT_LINES = 8
"""Terminal lines that stay free above the table for the output of apps, if the terminal is high enough."""
SHORT, LEAST_ROWS = 12, 3
"""On a terminal with fewer than SHORT lines more, only the table is shown; LEAST_ROWS rows are shown in any case."""
MAX_NAME, MAX_STATE = 32, 34
"""Widest columns in terminal cells; longer texts are cut."""

Line = list[Segment]


class AppStatus(IntEnum):
    """The status of an app. Apps are shown in this order."""

    TROUBLED = 0
    STARTING = 1
    AWAKE = 2
    LEAVING = 3
    ASLEEP = 4


class Row(NamedTuple):
    """What the table shows of one app. The texts may come from users; they are made safe for the terminal here."""

    name: str
    status: AppStatus
    state: str
    replicas: str
    held: int
    in_flight: int
    rps: float
    way: str
    """How to reach the app, in short."""
    url: str | None
    """The full URL, shown when there is room, because terminals turn texts that begin with http:// into links."""


_STYLES = {
    AppStatus.TROUBLED: Style(color="red"),
    AppStatus.STARTING: Style(color="yellow"),
    AppStatus.AWAKE: Style(color="green"),
    AppStatus.LEAVING: Style(color="blue"),
    AppStatus.ASLEEP: Style(dim=True),
}
_PLAIN, _BOLD, _DIM = Style(), Style(bold=True), Style(dim=True)
GAP = "  "
"""Between columns."""
_NUMBERS = ("replicas", "held", "in flight", "rps")
_RIGHT = (8, 5, 9, 7)
"""Widths of the numeric columns."""


def table_lines(rows: Iterable[Row], title: str, *, width: int, height: int) -> list[Line]:
    """The lines for a terminal of this width and height in cells: apps in trouble and running ones first, then a count of the
    apps that do not fit."""
    ordered = sorted(rows, key=attrgetter("status"))  # stable: in the order of the file
    room = _room(height)
    shown = ordered if len(ordered) <= room else ordered[: max(1, room - 1)]
    names = min(MAX_NAME, max([3, *(cell_len(one_line(row.name)) for row in ordered)]))
    states = min(MAX_STATE, max([5, *(cell_len(row.state) for row in shown if row.status is not AppStatus.TROUBLED)]))
    head = ["app", *_NUMBERS, "state", "address"]
    lines = [_cut([(one_line(title), _BOLD)], width), _line(head, [_DIM] * 7, names, states, width)]
    lines += [_row(row, names, states, width) for row in shown]
    if len(shown) < len(ordered):
        lines.append(_cut([(_rest(ordered[len(shown) :]), _DIM)], width))
    return lines


def _room(height: int) -> int:
    """Number of rows that fit, including the row that counts the apps left out."""
    kept = KEPT_LINES if height > KEPT_LINES + SHORT else 1
    return max(LEAST_ROWS, height - 2 - kept)


def _rest(rows: Sequence[Row]) -> str:
    counts = Counter("asleep" if row.status is AppStatus.ASLEEP else "awake" for row in rows)
    return ", ".join(f"{counts[kind]:,} more {kind}" for kind in ("awake", "asleep") if counts[kind])


def _row(row: Row, names: int, states: int, width: int) -> Line:
    style = _STYLES[row.status]
    texts = [row.name, row.replicas, f"{row.held:,}", f"{row.in_flight:,}", f"{row.rps:,.1f}", row.state]
    quiet = _DIM if row.status is AppStatus.ASLEEP else _PLAIN
    styles = [quiet, *[quiet] * 4, style]
    if row.status is AppStatus.TROUBLED:
        return _line(texts, styles, names, states, width)  # in trouble, the reason is more useful than the address
    left = width - names - sum(_RIGHT) - states - 6 * len(GAP)
    way = row.url if row.url is not None and cell_len(row.url) <= left else row.way
    return _line([*texts, way], [*styles, quiet], names, states, width)


def _line(texts: Sequence[str], styles: Sequence[Style], names: int, states: int, width: int) -> Line:
    cells = [set_cell_size(one_line(texts[0]), names)]
    cells += [text.rjust(wide) for text, wide in zip(texts[1:5], _RIGHT, strict=True)]
    cells += [one_line(texts[5])] if len(texts) == 6 else [_fitted(one_line(texts[5]), states), one_line(texts[6])]
    return _cut(list(zip(cells, styles, strict=True)), width)


def _fitted(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _cut(cells: Sequence[tuple[str, Style]], width: int) -> Line:
    """Join the cells with a gap and cut at the terminal's width. Neighbouring cells of one style share a segment, because
    rich's cost grows with the number of segments."""
    line: Line = []
    used, pending, last = 0, "", _PLAIN
    for text, style in cells:
        gap = GAP if used else ""
        left = width - used - len(gap)
        if left <= 0:
            break
        pending += gap
        if style is not last:
            line += [Segment(pending, last)] if pending else []
            pending, last = "", style
        wide = cell_len(text)
        pending += text if wide <= left else _fitted(text, left)
        used += len(gap) + min(wide, left)
    return [*line, Segment(pending, last)] if pending else line
