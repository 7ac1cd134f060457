"""How far a command is, on standard error: one line that changes on a terminal, otherwise a line for each step."""

from __future__ import annotations

import re
import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from fleet.runtime.terminal import complain, one_line

__all__ = ["Steps"]

_COUNT = re.compile(r"([0-9]{1,6})/([0-9]{1,6}) ")
"""How many of how many, at the beginning of a message: "1/2 interceptors serve version …"."""
MAX_WIDTH = 60
"""Characters of a step beside the bar."""


class Steps:
    """Tells steps from entering to leaving. `quiet` tells nothing."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._quiet = quiet
        self._last = ""
        self._shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def tell(self, step: str, message: str = "") -> None:
        """A step that begins, or news of it."""
        whole = one_line(": ".join(filter(None, (step, message))))
        if self._quiet or whole == self._last:
            return
        self._last = whole
        if self._console.is_terminal:
            self._draw(whole, _COUNT.match(message))
        else:
            complain(whole)

    def end(self) -> None:
        """Take the line away from a terminal."""
        shown, self._shown = self._shown, None
        if shown is not None:
            shown[0].stop()

    def _draw(self, text: str, count: re.Match[str] | None) -> None:
        if self._shown is None:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TimeElapsedColumn(),
            )
            bar = Progress(*columns, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._shown = bar, bar.add_task("", total=None)
            bar.start()
        bar, task = self._shown
        short = text if len(text) <= MAX_WIDTH else f"{text[: MAX_WIDTH - 1]}…"
        done, total = (int(count[1]), int(count[2])) if count else (0, 0)
        if not total:  # a bar cannot forget its total
            bar.remove_task(task)
            self._shown = bar, bar.add_task(short, total=None)
        else:
            bar.update(task, description=short, completed=done, total=total)
        bar.refresh()  # each step is seen, also a short one
