"""What a route says of requests from pages of other origins (CORS): values, and what they may be. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from fleet.routing.declare import Field, Kind
from fleet.routing.faults import Fail
from fleet.routing.kinds import HEADER_NAME, METHOD, SECONDS

__all__ = ["ORIGIN", "Cors", "check_cors"]

MAX_VALUES: Final = 100
"""Values of one list. A preflight's answer names them all, and a request's origin is compared with each."""
MAX_ORIGIN: Final = 300
"""Characters: a scheme, a host of 253 and a port."""
_ORIGIN_PATTERN: Final = r"^(\*|[a-z][a-z0-9+.-]*://(\*\.)?[a-z0-9.-]+(:[0-9]{1,5})?)$"
_ORIGIN: Final = re.compile(_ORIGIN_PATTERN)


def _origin(origin: str, field: str, fail: Fail) -> None:
    if not (len(origin) <= MAX_ORIGIN and _ORIGIN.fullmatch(origin)):
        raise fail(
            field, f'{origin[:100]!r} is not an origin such as "https://app.example.com" or "https://*.example.com", or "*"'
        )


ORIGIN: Final = Kind(_origin, max_length=MAX_ORIGIN, pattern=_ORIGIN_PATTERN)


class Cors(msgspec.Struct, frozen=True, omit_defaults=True):
    """Pages of these origins may use the application. The interceptor answers their preflights, which wakes nothing."""

    allow_origins: Annotated[
        tuple[str, ...],
        Field(
            'Origins of pages: "https://app.example.com", "https://*.example.com" for every host below, or "*" for all.',
            ORIGIN,
            most=MAX_VALUES,
            called="origins",
        ),
    ]
    allow_methods: Annotated[
        tuple[str, ...],
        Field("Methods that pages may use. Without any, GET, HEAD and POST.", METHOD, most=MAX_VALUES, called="methods"),
    ] = ()
    allow_headers: Annotated[
        tuple[str, ...],
        Field(
            "Headers that pages may send. Without any, what gRPC-Web and Connect need.",
            HEADER_NAME,
            most=MAX_VALUES,
            called="headers",
        ),
    ] = ()
    expose_headers: Annotated[
        tuple[str, ...],
        Field(
            "Headers of answers that pages may read. Without any, what gRPC-Web needs.",
            HEADER_NAME,
            most=MAX_VALUES,
            called="headers",
        ),
    ] = ()
    max_age: Annotated[float | None, Field("How long a browser remembers the answer to a preflight.", SECONDS)] = None
    allow_credentials: Annotated[bool, Field("Whether pages may send cookies and other credentials.")] = False


def check_cors(cors: Cors, at: str, fail: Fail) -> None:
    """Rules about several fields."""
    if not cors.allow_origins:
        raise fail(f"{at}.allow_origins", "is empty")
    lists = ("allow_origins", "allow_methods", "allow_headers", "expose_headers")
    for name in lists if cors.allow_credentials else ():
        if "*" in getattr(cors, name):
            raise fail(f"{at}.{name}", '"*" does not go with credentials: name them')
