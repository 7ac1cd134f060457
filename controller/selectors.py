"""Label selectors as the API server writes them, compared with labels. Pure.

Only what is certain counts: a label of which nothing is said may have any value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

__all__ = ["Requirement", "implies", "parse_selector", "rules_out", "selects"]


class Requirement(msgspec.Struct, frozen=True):
    """What one label has to be: one of the values, where None is any value at all; with `negated` just not that."""

    key: str
    values: frozenset[str] | None = None
    negated: bool = False

    def takes(self, value: str | None) -> bool:
        """Whether a pod with this value, None for no such label, is selected."""
        is_one = value is not None and (self.values is None or value in self.values)
        return is_one != self.negated


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """The requirements of a selector: "a=b", "a!=b", "a in (b,c)", "a notin (b,c)", "a" and "!a", with commas between."""
    return tuple(_requirement(part) for part in _parts(text) if part)


def selects(requirements: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """Whether a pod with these labels, and no others, is selected."""
    return all(one.takes(labels.get(one.key)) for one in requirements)


def rules_out(requirements: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """Whether no pod that is selected can have these labels, whatever others it has."""
    return any(one.key in labels and not one.takes(labels[one.key]) for one in requirements)


def implies(requirements: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """Whether every pod that is selected has these labels."""
    certain = {one.key: one.values for one in requirements if not one.negated}
    return all(certain.get(key) == frozenset({value}) for key, value in labels.items())


def _parts(text: str) -> Iterator[str]:
    """Between the commas, but for those in parentheses."""
    begun: list[str] = []
    for piece in text.split(","):
        begun.append(piece)
        if "(" not in begun[0] or ")" in piece:
            yield ",".join(begun).strip()
            begun = []


def _requirement(part: str) -> Requirement:
    if part.endswith(")"):
        head, _, listed = part[:-1].partition("(")
        key, _, word = head.strip().partition(" ")
        return Requirement(key, frozenset(value.strip() for value in listed.split(",")), negated=word.strip() == "notin")
    if "!=" in part:
        key, _, value = part.partition("!=")
        return Requirement(key, frozenset({value}), negated=True)
    if "=" in part:
        key, _, value = part.partition("=")
        return Requirement(key, frozenset({value.removeprefix("=")}))
    return Requirement(part.removeprefix("!"), None, negated=part.startswith("!"))
