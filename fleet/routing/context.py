"""Which preview a request names, and how the name is carried to the next application. Pure.

Sources in this order: host, header, baggage, cookie. The first that is there decides alone: when it names nothing, or two
different things, the request belongs to no preview, whatever the others say.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from fleet.defaults import CONTEXT_HEADER
from fleet.routing.cookies import cookie_values
from fleet.routing.match import Headers
from fleet.routing.previews import REFUSE, Previews, is_copy_name

__all__ = ["NO_MARKS", "Choice", "Context", "Marks", "Source"]

BAGGAGE: Final = b"baggage"
SHORT: Final = 16
"""Most bytes of the usual name of a cookie."""


class Source(Enum):
    """What of a request names a preview."""

    NONE = "nothing"
    HOST = "host"
    HEADER = "header"
    BAGGAGE = "baggage"
    COOKIE = "cookie"


class Choice(NamedTuple):
    """A valid name of a preview, which may be unknown here; or an empty one where the source names nothing."""

    source: Source
    name: bytes


class Marks(msgspec.Struct, frozen=True):
    """What a request has somewhere whose header, baggage or cookie names a preview: one of these fields, or this text in a
    cookie. Most requests have none, which is quickly seen."""

    names: frozenset[bytes]
    lines: tuple[bytes, ...]
    """The names as a line of a head of HTTP/1 begins with them, in lower case."""
    cookie: bytes
    """Empty if no cookie is read."""
    usual: bool
    """Whether the names are no others than those that most applications have, and the text is short: it may then be sought from
    the end of a head, which is faster, but takes a time that grows with the length of the text as well."""


NO_MARKS: Final = Marks(frozenset(), (), b"", usual=False)
"""Of an application without previews."""
NOTHING: Final = Choice(Source.NONE, b"")


class Context:
    """How the requests of one base are read. Made once for each version of its route."""

    __slots__ = ("_baggage", "_cookie", "_header", "marks", "names", "refuses_unknown", "sets_cookie")

    def __init__(self, previews: Previews) -> None:
        self._header = previews.header.lower().encode()
        self._baggage = b"" if previews.baggage is None else previews.baggage.encode()
        self._cookie = b"" if previews.cookie is None else previews.cookie.encode()
        self.sets_cookie = previews.set_cookie
        self.refuses_unknown = previews.unknown == REFUSE
        dropped = (self._header.replace(b"_", b"-"), *((BAGGAGE,) if self._baggage else ()))
        self.names: frozenset[bytes] = frozenset(dropped)
        """Headers that `carried` gives anew."""
        names = (self._header, *((BAGGAGE,) if self._baggage else ()))
        usual = self._header == CONTEXT_HEADER.encode() and len(self._cookie) <= SHORT
        self.marks = Marks(frozenset(names), tuple(b"\n%b:" % name for name in names), self._cookie, usual)
        """A request without any of these has no choice but that of its host."""

    def read(self, fields: Headers, by_host: bytes = b"") -> Choice:
        """What a request names. `by_host` is the name in its host, if there is one."""
        if by_host:
            return Choice(Source.HOST, by_host)
        said = {value for name, value in fields if name == self._header and value}
        if said:
            return _only(Source.HEADER, said)
        if self._baggage and (said := set(self._in_baggage(fields))):
            return _only(Source.BAGGAGE, said)
        if self._cookie and (given := [value for value in cookie_values(fields, self._cookie) if value]):
            return _only(Source.COOKIE, {given[0]})  # of several the one of the longest path comes first (RFC 6265 section 5.4)
        return NOTHING

    def carried(self, fields: Headers, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """The headers that carry a name, in place of what a request has of these."""
        header = (self._header, name)
        if not self._baggage:
            return (header,)
        own = self._baggage + b"=" + name
        others = [member for member in _members(fields) if member and _key(member) != self._baggage]
        # The own member first: readers that keep to a limit of 8,192 bytes drop what comes last.
        return (header, (BAGGAGE, b",".join((own, *others))))

    def cookie(self, name: bytes, *, domain: bytes, secure: bool) -> bytes:
        """The value of Set-Cookie: until the browser is closed, and for all hosts below a domain, if there is one."""
        value = b"%b=%b; Path=/; HttpOnly; SameSite=Lax" % (self._cookie, name)
        if domain:
            value += b"; Domain=" + domain
        return value + b"; Secure" if secure else value

    def _in_baggage(self, fields: Headers) -> list[bytes]:
        said = [member.partition(b";")[0].partition(b"=") for member in _members(fields)]
        return [value.strip(b" \t") for key, _, value in said if key.strip(b" \t") == self._baggage and value.strip(b" \t")]


def _members(fields: Headers) -> list[bytes]:
    """The members of all fields `baggage`."""
    return [member.strip(b" \t") for name, value in fields if name == BAGGAGE for member in value.split(b",")]


def _key(member: bytes) -> bytes:
    return member.partition(b";")[0].partition(b"=")[0].strip(b" \t")


def _only(source: Source, said: Sequence[bytes] | set[bytes]) -> Choice:
    name = next(iter(said)) if len(said) == 1 else b""
    return Choice(source, name if is_copy_name(name) else b"")
