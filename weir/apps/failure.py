"""Why a command was not carried out, and the exit code that tells scripts which kind of reason that is."""

from __future__ import annotations

from typing import Final

__all__ = [
    "CONFLICT",
    "FAILED",
    "FORBIDDEN",
    "INTERRUPTED",
    "INVALID",
    "NOT_DONE",
    "NOT_FOUND",
    "NOT_YET",
    "UNREACHABLE",
    "USAGE",
    "NotDoneError",
    "UsageError",
    "code_of_status",
]

NOT_DONE: Final = 1
USAGE: Final = 2
"""As typer has it."""
INVALID: Final = 3
"""As for a file that `weir up` cannot use."""
NOT_FOUND: Final = 4
CONFLICT: Final = 5
FORBIDDEN: Final = 6
UNREACHABLE: Final = 7
NOT_YET: Final = 8
"""It is done, and what was waited for did not come."""
FAILED: Final = 9
"""It is done, and what was waited for cannot come before somebody changes something."""
INTERRUPTED: Final = 130
"""As a shell has it: 128 and the number of SIGINT."""

_CODES = {
    400: INVALID,
    401: FORBIDDEN,
    403: FORBIDDEN,
    404: NOT_FOUND,
    408: UNREACHABLE,
    409: CONFLICT,
    412: CONFLICT,
    413: INVALID,
    415: INVALID,
    422: INVALID,
    429: UNREACHABLE,
    502: UNREACHABLE,
    503: UNREACHABLE,
    504: UNREACHABLE,
}


class NotDoneError(Exception):
    """The command was not carried out, or not to its end. The lines say why."""

    def __init__(self, *lines: str, code: int = NOT_DONE, status: int = 0) -> None:
        """`status` is that of the server's answer, if it was one."""
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code
        self.status = status


class UsageError(NotDoneError):
    """The arguments do not fit together, or not to where the app is."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines, code=USAGE)


def code_of_status(status: int) -> int:
    """The exit code for an answer of the Admin API."""
    return _CODES.get(status, NOT_DONE)
