"""Whether tests run at full size: minutes and gigabytes, the sizes that the product promises, instead of seconds as usual."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

__all__ = ["FULL", "PROFILE", "UNLIMITED", "examples", "some"]

_T = TypeVar("_T")

FULL = os.environ.get("WEIR_FULL_SIZE", "") not in ("", "0")

PROFILE = os.environ.get("WEIR_HYPOTHESIS", "same")
"""Of hypothesis: the same examples everywhere, or "explore" for new ones, and more of them."""
UNLIMITED = FULL or PROFILE == "explore"
"""Whether tests may take as long as they do."""

FEWEST_EXAMPLES = 20


def examples(full: int, *, share: int = 8) -> int:
    """The number of examples for a property test in tests/unit: `full` at full size, otherwise an eighth or another share, at
    least twenty. They are the same every day, so that many more of them find no more."""
    return full if FULL else min(full, max(full // share, FEWEST_EXAMPLES))


def some(cases: Iterable[_T], *, share: int) -> Iterator[_T]:
    """Of the cases of a table in tests/unit: all at full size, otherwise every so many. `share` has no divisor in common with the
    lengths of the table's sides, so that every row and column is met."""
    return islice(cases, 0, None, 1 if FULL else share)
