"""The exception for invalid routes. Pure."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Fail", "RouteError"]


class RouteError(ValueError):
    """An invalid route. The message names the application and the field."""

    def __init__(self, app: str, field: str, reason: str) -> None:
        super().__init__(f"route {app!r}: {field}: {reason}")
        self.app = app
        self.field = field
        self.reason = reason


Fail = Callable[[str, str], RouteError]
"""Creates the exception for a field and a reason."""
