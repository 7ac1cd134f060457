"""The exception for an invalid custom resource, in terms of the fields that its author wrote. Pure."""

from __future__ import annotations

import re

import msgspec

__all__ = ["Problem"]

_AT = re.compile(r" - at `\$\.?([^`]*)`$")


class Problem(ValueError):
    """What is wrong with an object: the field as its author wrote it, and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)

    @classmethod
    def of(cls, error: msgspec.ValidationError) -> Problem:
        """From a decoding error of a spec."""
        text = str(error)
        at = _AT.search(text)
        if at is None:
            return cls("spec", text)
        return cls(f"spec.{at[1]}" if at[1] else "spec", text[: at.start()])
