"""A dependency that is not declared, and that wakes suggest; in words, for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["MOST_SHOWN", "Suggestion", "in_words", "names_in"]

MOST_SHOWN: Final = 3
"""Applications in one text, those seen most often. Once these are declared, others are shown."""
_LISTS: Final = re.compile(r"\[([^\[\]]*)\]")


class Suggestion(NamedTuple):
    """Of one application, about another one of its namespace."""

    app: str
    """The other one, "namespace/name"."""
    percent: int
    """In how many of the application's wakes the other one woke, too: about, as it is rounded, and does not follow every wake."""
    together: bool = False
    """Both woke at the same moment, so that nothing says which of them calls the other, or whether something else calls both."""

    @property
    def name(self) -> str:
        return self.app.partition("/")[2]


def in_words(app: str, found: Sequence[Suggestion], field: str) -> str:
    """What to do with the application ("namespace/name") and why; "" without any. `field` is the name of the field for it."""
    after = [each for each in found if not each.together][:MOST_SHOWN]
    beside = [each for each in found if each.together][: MOST_SHOWN - len(after)]
    return "; ".join(_parts(app.partition("/")[2], after, beside, field))


def _parts(name: str, after: Sequence[Suggestion], beside: Sequence[Suggestion], field: str) -> Iterator[str]:
    if after:
        when = f"which woke before {name} was ready or within 2 s of that"
        yield f"{name} seems to call {_shares(after)}, {when}: add {field}: [{_names(after)}]"
    if beside:
        yield f"{name} woke together with {_shares(beside)}: if it calls that, add {field}: [{_names(beside)}]"


def _shares(found: Sequence[Suggestion]) -> str:
    return ", ".join(f"{each.name} (in about {each.percent} % of its wakes)" for each in found)


def _names(found: Sequence[Suggestion]) -> str:
    return ", ".join(each.name for each in found)


def names_in(words: str) -> frozenset[str]:
    """The names that such a text suggests."""
    return frozenset(name for names in _LISTS.findall(words) for name in names.split(", ") if name)
