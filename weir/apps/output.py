"""What commands print on standard output: tables for people, JSON and YAML for programs.

Everything in it may come from a server. Tables are made safe by `say`; in JSON and YAML everything but ASCII is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from fleet.runtime.terminal import one_line, say

__all__ = ["FORMATS", "print_fields", "print_table", "print_value"]

FORMATS = ("text", "json", "yaml")


def print_value(value: Any, form: str) -> None:
    """JSON or YAML."""
    written = json.dumps(value, indent=2, default=str) if form == "json" else yaml.safe_dump(value, sort_keys=False, width=120)
    for line in written.splitlines():
        say(line)


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their longest cell; the last one is not filled."""
    cells = [[one_line(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(title: str, fields: Mapping[str, str]) -> None:
    """One thing: its name, and what it is. Empty fields are left out."""
    say(title)
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if value:
            say(f"  {name.ljust(width)}  {value}")
