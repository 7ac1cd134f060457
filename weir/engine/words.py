"""What is wrong with a value, in the words of whoever writes YAML. Pure: pydantic's findings in, one reason out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

__all__ = ["FIELDS", "MISSING", "reason_of"]

MISSING = "is missing"
FIELDS = "fields with values, like {a: b}"
_UNKNOWN = "is not a field"

_WHOLE = "should be a whole number"
_NUMBER = "should be a number"
_TEXT = 'should be text; write it in quotes, like "1"'
_SWITCH = "should be true or false"
_REASONS: Mapping[str, str | Callable[[Mapping[str, Any]], str]] = {
    "missing": MISSING,
    "extra_forbidden": _UNKNOWN,
    "model_type": f"should be {FIELDS}",
    "dict_type": f"should be {FIELDS}",
    "list_type": "should be a list, like [a, b]",
    "string_type": _TEXT,
    "string_too_short": "is empty",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "should be a finite number",
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "greater_than": lambda bound: f"should be more than {bound['gt']:g}",
    "greater_than_equal": lambda bound: f"should be at least {bound['ge']:g}",
    "less_than_equal": lambda bound: f"should be at most {bound['le']:g}",
}


def reason_of(detail: ErrorDetails) -> str:
    """Why pydantic does not take a value. What our own validators say is taken as it is."""
    reason = _REASONS.get(detail["type"])
    if reason is None:
        message = detail["msg"].removeprefix("Value error, ")
        return message[:1].lower() + message[1:]
    return reason if isinstance(reason, str) else reason(detail.get("ctx", {}))
