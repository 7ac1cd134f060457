"""What is wrong with a route, and the checks that many fields share. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

__all__ = [
    "MAX_COUNT",
    "MAX_PATH",
    "TOKEN",
    "Fail",
    "RouteError",
    "check_count",
    "check_name",
    "check_number",
    "check_path",
    "check_positive",
    "check_sendable",
    "check_token",
    "is_name",
]

MAX_PATH = 8192
"""Characters of one path prefix. Longer request targets are refused by most servers, so more could never match."""

MAX_COUNT = 1 << 53
"""What every reader of JSON takes for the same number (RFC 8259 section 6)."""

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and lone surrogates: no bytes of a request stand for them
_UNSENDABLE = re.compile(r"^[ \t]|[ \t]$|[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # RFC 9110 section 5.5
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")  # names of Kubernetes objects


class RouteError(ValueError):
    """A route that no table takes. The message names the application and the field."""

    def __init__(self, app: str, field: str, reason: str) -> None:
        super().__init__(f"route {app!r}: {field}: {reason}")
        self.app = app
        self.field = field
        self.reason = reason


Fail = Callable[[str, str], RouteError]
"""Makes the error of a field, for a reason."""


def is_name(text: str) -> bool:
    """Whether an object could have this name."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str, field: str, fail: Fail) -> None:
    namespace, slash, name = text.partition("/")
    if not slash or not is_name(namespace) or not is_name(name):
        raise fail(field, f'{text!r} is not "namespace/name"')


def check_path(path: str, field: str, fail: Fail) -> None:
    if not path.startswith("/"):
        raise fail(field, f'{path!r} does not start with "/"')
    if _CONTROL.search(path):
        raise fail(field, f"{path!r} has control characters")
    if len(path) > MAX_PATH:
        raise fail(field, f"longer than {MAX_PATH} characters")


def check_token(name: str, field: str, fail: Fail, *, what: str = "the name of a header") -> None:
    if not TOKEN.fullmatch(name):
        raise fail(field, f"{name!r} is not {what}")


def check_sendable(value: str, field: str, fail: Fail, *, what: str = "message") -> None:
    if _UNSENDABLE.search(value):
        raise fail(field, f"no {what} can carry it: spaces at an end, or control characters")


def check_number(value: float, field: str, fail: Fail) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise fail(field, f"{value} is not a number from 0 up")


def check_count(value: int, field: str, fail: Fail) -> None:
    if not 0 <= value <= MAX_COUNT:
        raise fail(field, f"{value} is not a number from 0 to {MAX_COUNT}")


def check_positive(value: float, field: str, fail: Fail) -> None:
    if not (math.isfinite(value) and value > 0):
        raise fail(field, f"{value} is not a number above 0")
