"""What the API refuses, as problem+json (RFC 9457), and how errors of the API server become that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from controller.admin.documents import Fault, Problem
from fleet.discovery.kubernetes.client import ApiError
from fleet.runtime.terminal import one_line

__all__ = ["PROBLEM_JSON", "TITLES", "Refused", "faults_of_validation", "of_api_error"]

PROBLEM_JSON = "application/problem+json"
MAX_FAULTS = 20
"""Faults in one answer. A document with more is not mended by reading a list."""
MAX_DETAIL = 1024
RETRY_SECONDS = 2

TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Not permitted",
    404: "Not found",
    405: "Method not allowed",
    408: "The request took too long to arrive",
    409: "Conflict",
    410: "Gone",
    412: "Changed in the meantime",
    413: "Too large",
    415: "Media type not supported",
    422: "Not valid",
    429: "Too many requests",
    500: "Internal error",
    501: "This controller cannot do that",
    502: "The API server's answer cannot be used",
    503: "Not now",
}


_WORDS = {"extra_forbidden": "is not a field", "missing": "is missing", "model_attributes_type": "should be an object"}
_WORDS["model_type"] = _WORDS["dict_type"] = _WORDS["model_attributes_type"]
_OF_API_SERVER = {
    400: (422, "refused-by-cluster"),
    403: (403, "refused-by-cluster"),
    404: (404, "not-found"),
    409: (409, "conflict"),
    410: (410, "expired"),
    422: (422, "refused-by-cluster"),
}
"""Status of the API server, our status, and the kind of the problem."""


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        step: str | None = None,
        rolled_back: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`kind` is the word by which programs tell problems apart."""
        super().__init__(detail)
        self.problem = Problem(
            type=f"urn:weir:problem:{kind}",
            title=TITLES.get(status, "Refused"),
            status=status,
            detail=one_line(detail)[:MAX_DETAIL],
            errors=list(errors)[:MAX_FAULTS],
            step=step,
            rolled_back=rolled_back,
        )
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        return self.problem.status


def of_api_error(error: ApiError, *, step: str | None = None, rolled_back: bool | None = None) -> Refused:
    """A refusal by the API server as the caller's, an outage as ours."""
    unknown = 502 if 400 <= error.status < 500 and error.status != 429 else 503
    status, kind = _OF_API_SERVER.get(error.status, (unknown, "cluster-unavailable"))
    headers = {"Retry-After": str(int(error.retry_after or RETRY_SECONDS))} if status == 503 else {}
    return Refused(status, kind, str(error), step=step, rolled_back=rolled_back, headers=headers)


def faults_of_validation(error: ValidationError, document: object) -> list[Fault]:
    """The faults of a document that a model refused, with pointers into it."""
    return [
        Fault(detail=one_line(_words(found))[:MAX_DETAIL], pointer=_pointer(found["loc"], found["type"], document))
        for found in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FAULTS]
    ]


def _words(found: Any) -> str:
    if found["type"] in _WORDS:
        return _WORDS[found["type"]]
    return str(found["msg"]).removeprefix("Value error, ")


def _pointer(location: Sequence[Any], kind: str, document: object) -> str:
    """A JSON pointer (RFC 6901). Pydantic's location has tags of unions besides, which lead nowhere in the document."""
    parts: list[str] = []
    at = document
    for number, part in enumerate(location, 1):
        if (isinstance(at, Mapping) and part in at) or (
            isinstance(at, Sequence) and not isinstance(at, str) and isinstance(part, int) and part < len(at)
        ):
            at = at[part]
        elif kind != "missing" or number < len(location):
            continue
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)
