"""Label selectors in the API server's text form, compared with labels. Pure.

Results hold for certain: a label that is not mentioned may have any value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

__all__ = ["Requirement", "implies", "parse_selector", "rules_out", "selects"]


class Requirement(msgspec.Struct, frozen=True):
    """A requirement for one label: one of the values, where None means any value; with `negated` the opposite."""

    key: str
    values: frozenset[str] | None = None
    negated: bool = False

    def takes(self, value: str | None) -> bool:
        """Whether a pod with this value (None: without the label) is selected."""
        is_one = value is not None and (self.values is None or value in self.values)
        return is_one != self.negated


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """The requirements of a selector: "a=b", "a!=b", "a in (b,c)", "a notin (b,c)", "a" and "!a", separated by commas."""
    return tuple(_requirement(part) for part in _parts(text) if part)


def selects(requirements: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """Whether a pod with exactly these labels is selected."""
    return all(one.takes(labels.get(one.key)) for one in requirements)


def rules_out(requirements: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """Whether no selected pod can have these labels, whatever other labels it has."""
    return any(one.key in labels and not one.takes(labels[one.key]) for one in requirements)


def implies(requirements: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """Whether every selected pod has these labels."""
    certain = {one.key: one.values for one in requirements if not one.negated}
    return all(certain.get(key) == frozenset({value}) for key, value in labels.items())


def _parts(text: str) -> Iterator[str]:
    """Split at commas outside of parentheses."""
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
