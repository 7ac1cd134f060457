"""What a terminal acts on, from the Unicode database, for tests that nothing of it gets through."""

from __future__ import annotations

import re
import sys
import unicodedata

__all__ = ["ACTING", "HOSTILE", "KEPT", "SURROGATES", "acting"]

_BIDI = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Reorder what follows, as no letter does (UAX #9): a name or a path could be read backwards."""

ACTING = frozenset(
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} or unicodedata.bidirectional(char) in _BIDI
)
"""Controls of both sets, line separators, halves of pairs, directions."""
KEPT = frozenset("\t\n")
SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))

HOSTILE = "a" + "".join(sorted(ACTING - SURROGATES)) + "\x1b[2J\x1b]0;owned\x07\x9b2J\x1b[8m[red][/x]z"
"""All of it in one text, with whole sequences and with what rich would take for its own markup."""

_COLOURS = re.compile(r"\x1b\[[0-9;]{0,64}m")


def acting(text: str, *, colours: bool = False, lines: bool = False) -> set[str]:
    """What of a text a terminal would act on, tabs aside."""
    kept = {"\t", "\n"} if lines else {"\t"}
    return set(_COLOURS.sub("", text) if colours else text) & ACTING - kept
