"""Reason phrases of statuses: those of RFC 9110, whatever version of Python says. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

__all__ = ["reason_phrase"]


def reason_phrase(status: int) -> bytes:
    """Such as b"Not Found". Empty for a status without a registered name."""
    return _PHRASES.get(status, b"")


# RFC 9110 renamed these; Python follows from 3.13 on.
_RENAMED: Final = {
    413: b"Content Too Large",
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    422: b"Unprocessable Content",
}
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus} | _RENAMED
