"""Text for rich's tables, which parse plain strings as markup: a name in brackets would become a style or an error."""

from __future__ import annotations

from rich.text import Text

from fleet.runtime.terminal import one_line

__all__ = ["text"]


def text(written: str, style: str = "") -> Text:
    """Text from others, unchanged, in one line."""
    return Text(one_line(written), style=style)
