"""Text for the tables of rich, which takes plain strings for markup: a name in brackets would be a style, or an error."""

from __future__ import annotations

from rich.text import Text

from fleet.runtime.terminal import one_line

__all__ = ["text"]


def text(written: str, style: str = "") -> Text:
    """What somebody else has written, as it is, in one line."""
    return Text(one_line(written), style=style)
