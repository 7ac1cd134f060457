"""Characters that a terminal interprets, from the Unicode database, for tests that none of them reaches one."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from itertools import compress

__all__ = ["ACTING", "HOSTILE", "KEPT", "SURROGATES", "acting"]

_BIDI = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional controls, which change the display order (UAX #9): a name or a path could be shown backwards."""

_ALL = [*map(chr, range(sys.maxunicode + 1))]


def _having(property_of: Callable[[str], str], values: frozenset[str]) -> Iterator[str]:
    """The characters with one of these values of a property. Every run of tests begins with it: no line of Python for each."""
    return compress(_ALL, map(values.__contains__, map(property_of, _ALL)))


ACTING = frozenset(
    {*_having(unicodedata.category, frozenset({"Cc", "Zl", "Zp", "Cs"})), *_having(unicodedata.bidirectional, _BIDI)}
)
"""C0 and C1 control characters, line separators, surrogates, bidirectional controls."""
KEPT = frozenset("\t\n")
SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))

HOSTILE = "a" + "".join(sorted(ACTING - SURROGATES)) + "\x1b[2J\x1b]0;owned\x07\x9b2J\x1b[8m[red][/x]z"
"""All of them in one text, with complete escape sequences and with markup of the rich library."""

_COLOURS = re.compile(r"\x1b\[[0-9;]{0,64}m")


def acting(text: str, *, colours: bool = False, lines: bool = False) -> set[str]:
    """The characters of a text that a terminal would interpret, except tabs."""
    kept = {"\t", "\n"} if lines else {"\t"}
    return set(_COLOURS.sub("", text) if colours else text) & ACTING - kept
