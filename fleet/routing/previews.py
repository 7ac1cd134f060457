"""What a route says of its previews: copies of its application that some requests go to. Values, and what they may be. Pure.

A route with previews is the base of its copies. They are inside its entry of the table, so that a thousand of them cost little;
which request goes to which copy is found by `fleet.routing.preview_index` and `fleet.routing.context`.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from fleet import defaults
from fleet.routing.declare import Field, Kind
from fleet.routing.faults import Fail
from fleet.routing.kinds import BAGGAGE_KEY, COOKIE_NAME, INSTANT, NAME, check_changed_name
from fleet.routing.target import Target

__all__ = [
    "BAGGAGE_KEY",
    "COPY_NAME",
    "COPY_NAME_PATTERN",
    "DASH",
    "DOT",
    "HEADER_OF_CONTEXT",
    "HOST_PATTERN",
    "HOST_PATTERNS",
    "MAX_COPIES",
    "REFUSE",
    "UNKNOWN",
    "UNKNOWN_WORDS",
    "Copy",
    "Previews",
    "check_copies",
    "check_previews",
    "is_copy_name",
]

DOT: Final = "{name}.{baseHost}"
DASH: Final = "{name}--{baseHost}"
"""One label less: what a certificate for *.example.com is good for as well."""
HOST_PATTERNS: Final = (DOT, DASH)
TO_BASE: Final = "base"
REFUSE: Final = "refuse"
UNKNOWN_WORDS: Final = (TO_BASE, REFUSE)

MAX_COPIES: Final = 5000
"""Copies of one base. A table of 100 bytes each is still decoded in a few milliseconds."""
MAX_COPY_NAME: Final = 63
"""Characters of a label in the DNS (RFC 1035 section 2.3.4)."""
COPY_NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9-]*$"
"""For schemas. `is_copy_name` asks for more."""
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_NOT_A_CONTEXT: Final = frozenset(
    {
        *("accept", "authorization", "baggage", "content-type", "cookie", "forwarded", "grpc-timeout", "origin", "tracestate"),
        *("user-agent", "via", "weir-keep-awake"),
    }
)
"""Headers that mean something else, and would be overwritten."""


def is_copy_name(name: bytes) -> bool:
    """Whether a copy can have this name: a label of the DNS in lower case, without "--", which ends the name in hosts, and not
    "xn", as the label would be one of another alphabet."""
    return (
        0 < len(name) <= MAX_COPY_NAME
        and not name.translate(None, _LETTERS)
        and name[:1] != b"-"
        and name[-1:] != b"-"
        and b"--" not in name
        and name != b"xn"
    )


def _copy_name(name: str, field: str, fail: Fail) -> None:
    if not is_copy_name(name.encode(errors="replace")):
        raise fail(
            field, f'{name[:100]!r} is no name of a preview: up to 63 of a-z, 0-9 and single hyphens between, and not "xn"'
        )


def _one_of(words: tuple[str, ...]) -> Kind:
    def check(word: str, field: str, fail: Fail) -> None:
        if word not in words:
            raise fail(field, f"{word[:60]!r} is neither {' nor '.join(words)}")

    return Kind(check)


def _header(name: str, field: str, fail: Fail) -> None:
    check_changed_name(name, field, fail)
    if name.lower().replace("_", "-") in _NOT_A_CONTEXT or name.lower().startswith("x-forwarded"):
        raise fail(field, f"{name} means something else")


COPY_NAME: Final = Kind(_copy_name, max_length=MAX_COPY_NAME, pattern=COPY_NAME_PATTERN)
HOST_PATTERN: Final = _one_of(HOST_PATTERNS)
UNKNOWN: Final = _one_of(UNKNOWN_WORDS)
HEADER_OF_CONTEXT: Final = Kind(_header)


class Copy(msgspec.Struct, frozen=True, omit_defaults=True):
    """One preview: a copy of the base, with demand, waiting room and replicas of its own."""

    name: Annotated[str, Field("Name of the preview, which requests choose it by.", COPY_NAME)]
    app: Annotated[str, Field('The application, "namespace/name", in the namespace of the base unless `elsewhere`.', NAME)]
    target: Annotated[
        Target | None, Field("Where its requests go; all else is as the base has it. Without it, its own route is used.")
    ] = None
    created: Annotated[float, Field("When it was made: of two equal claims the older wins.", INSTANT)] = 0.0
    elsewhere: Annotated[
        bool, Field("Whether it may be in another namespace than its base. Only for copies that a Preview of the base has made.")
    ] = False


class Previews(msgspec.Struct, frozen=True, omit_defaults=True):
    """How requests choose among the previews of an application, and how the choice is carried to the next one. The host decides
    before the header, the header before baggage, and baggage before the cookie."""

    header: Annotated[
        str, Field("Header with the name of a preview. Requests that chose one in another way get it.", HEADER_OF_CONTEXT)
    ] = defaults.CONTEXT_HEADER
    baggage: Annotated[
        str | None,
        Field("Key in the header `baggage` (W3C) that says the same, for applications with OpenTelemetry.", BAGGAGE_KEY),
    ] = None
    cookie: Annotated[str | None, Field("Cookie that says the same, for browsers.", COOKIE_NAME)] = None
    set_cookie: Annotated[bool, Field("Whether answers of a preview set the cookie, so that a browser stays in it.")] = False
    hosts: Annotated[
        tuple[str, ...],
        Field(
            f"Hosts of previews, {DOT} or {DASH}, for each host of the application without a wildcard.",
            HOST_PATTERN,
            most=len(HOST_PATTERNS),
            called="patterns",
        ),
    ] = (DOT,)
    unknown: Annotated[
        str, Field("base: a name without a preview is for the application itself. refuse: it gets 404.", UNKNOWN)
    ] = TO_BASE
    copies: Annotated[tuple[Copy, ...], Field("The previews.", most=MAX_COPIES, called="previews")] = ()


def check_previews(previews: Previews, at: str, fail: Fail) -> None:
    """Rules about several fields."""
    if previews.set_cookie and previews.cookie is None:
        raise fail(f"{at}.set_cookie", "there is no name of a cookie")
    seen: set[str] = set()
    for position, copy in enumerate(previews.copies):
        if copy.name in seen:
            raise fail(f"{at}.copies[{position}].name", f"{copy.name} is there twice")
        seen.add(copy.name)


def check_copies(base: str, previews: Previews, fail: Fail) -> None:
    """The copies of this base: none can be another tenant's."""
    namespace = base.partition("/")[0]
    for position, copy in enumerate(previews.copies):
        if copy.app == base:
            raise fail(f"previews.copies[{position}].app", "is the base itself")
        own = copy.app.partition("/")[0]
        if own == namespace:
            continue
        if not copy.elsewhere:
            raise fail(f"previews.copies[{position}].app", f"{copy.app} is in another namespace than its base")
        if copy.target is None or copy.target.service.partition("/")[0] != own:
            raise fail(f"previews.copies[{position}].target", f"is no Service of the namespace of {copy.app}")
