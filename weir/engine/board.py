"""The live table of `weir up` as lines of a terminal: which apps are in it, in which order, and how wide. Pure.

Written without rich's tables, which take half a millisecond for each row: requests go through the process that draws.
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

__all__ = ["Line", "Mood", "Sight", "board"]

KEPT_LINES = 8
"""Lines of the terminal that the table leaves free, where there are as many: what apps print is above it."""
SHORT, LEAST_ROWS = 12, 3
"""A terminal with fewer lines has the table alone; and rows that there are at least."""
MAX_NAME, MAX_STATE = 32, 34
"""Cells of a column, beyond which texts are cut."""

Line = list[Segment]


class Mood(IntEnum):
    """How an app is, in the order in which apps are shown."""

    TROUBLED = 0
    STARTING = 1
    AWAKE = 2
    LEAVING = 3
    ASLEEP = 4


class Sight(NamedTuple):
    """What is seen of an app. Texts may be anybody's."""

    name: str
    mood: Mood
    state: str
    replicas: str
    held: int
    in_flight: int
    rps: float
    way: str
    """How it is reached, in short."""
    url: str | None
    """The same in full, shown where there is room: terminals make links of what begins with http://."""


_STYLES = {
    Mood.TROUBLED: Style(color="red"),
    Mood.STARTING: Style(color="yellow"),
    Mood.AWAKE: Style(color="green"),
    Mood.LEAVING: Style(color="blue"),
    Mood.ASLEEP: Style(dim=True),
}
_PLAIN, _BOLD, _DIM = Style(), Style(bold=True), Style(dim=True)
GAP = "  "
"""Between columns."""
_NUMBERS = ("replicas", "held", "in flight", "rps")
_RIGHT = (8, 5, 9, 7)
"""Widths of their columns."""


def board(sights: Iterable[Sight], title: str, *, width: int, height: int) -> list[Line]:
    """The lines for a terminal of so many columns and lines: troubled and awake apps first, and a count of what does not fit."""
    ordered = sorted(sights, key=attrgetter("mood"))  # stable: in the order of the file
    room = _room(height)
    shown = ordered if len(ordered) <= room else ordered[: max(1, room - 1)]
    names = min(MAX_NAME, max([3, *(cell_len(one_line(sight.name)) for sight in ordered)]))
    states = min(MAX_STATE, max([5, *(cell_len(sight.state) for sight in shown if sight.mood is not Mood.TROUBLED)]))
    head = ["app", *_NUMBERS, "state", "address"]
    lines = [_cut([(one_line(title), _BOLD)], width), _line(head, [_DIM] * 7, names, states, width)]
    lines += [_row(sight, names, states, width) for sight in shown]
    if len(shown) < len(ordered):
        lines.append(_cut([(_rest(ordered[len(shown) :]), _DIM)], width))
    return lines


def _room(height: int) -> int:
    """Rows, the one that counts what does not fit included."""
    kept = KEPT_LINES if height > KEPT_LINES + SHORT else 1
    return max(LEAST_ROWS, height - 2 - kept)


def _rest(sights: Sequence[Sight]) -> str:
    counts = Counter("asleep" if sight.mood is Mood.ASLEEP else "awake" for sight in sights)
    return ", ".join(f"{counts[kind]:,} more {kind}" for kind in ("awake", "asleep") if counts[kind])


def _row(sight: Sight, names: int, states: int, width: int) -> Line:
    style = _STYLES[sight.mood]
    texts = [sight.name, sight.replicas, f"{sight.held:,}", f"{sight.in_flight:,}", f"{sight.rps:,.1f}", sight.state]
    quiet = _DIM if sight.mood is Mood.ASLEEP else _PLAIN
    styles = [quiet, *[quiet] * 4, style]
    if sight.mood is Mood.TROUBLED:
        return _line(texts, styles, names, states, width)  # why is worth more than where
    left = width - names - sum(_RIGHT) - states - 6 * len(GAP)
    way = sight.url if sight.url is not None and cell_len(sight.url) <= left else sight.way
    return _line([*texts, way], [*styles, quiet], names, states, width)


def _line(texts: Sequence[str], styles: Sequence[Style], names: int, states: int, width: int) -> Line:
    cells = [set_cell_size(one_line(texts[0]), names)]
    cells += [text.rjust(wide) for text, wide in zip(texts[1:5], _RIGHT, strict=True)]
    cells += [one_line(texts[5])] if len(texts) == 6 else [_fitted(one_line(texts[5]), states), one_line(texts[6])]
    return _cut(list(zip(cells, styles, strict=True)), width)


def _fitted(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _cut(cells: Sequence[tuple[str, Style]], width: int) -> Line:
    """The cells with two blanks between them, and no more of them than the terminal is wide. Neighbours of one style are one
    segment: segments are what a console takes its time over."""
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
