"""Rules about header fields that requests, responses and trailers share (RFC 9110, RFC 9112). Pure.

A head is accepted or refused as a whole. In an accepted head, line ends occur only between fields and a colon ends each name. So
one regular expression can take out the fields that a proxy must read, and leave the others unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from interceptor.core.messages import CONNECTION_SCHEMES, Field, FieldEdit, Fields
from interceptor.http1.grammar import GrammarError

__all__ = [
    "CHUNKED",
    "CHUNKED_LINE",
    "CRLF",
    "HEAD_END",
    "collect",
    "connection_options",
    "edited_head",
    "encode_fields",
    "field_pairs",
    "field_splitter",
    "host_is_valid",
    "is_tied_to_connection",
    "response_pairs",
    "tokens",
    "without_fields",
]

CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"
CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n"

CHUNKED: Final = -1
"""Body length of a chunked message."""


_CONNECTION_SCHEMES: Final = frozenset(name.encode() for name in CONNECTION_SCHEMES)
MAX_ELEMENTS: Final = 256
"""Maximum number of elements of a list field that the proxy parses."""
MAX_CACHED_HEAD: Final = 512
"""Maximum bytes of a head whose fields are cached: together that is at most a quarter of a MiB."""
_HOST_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
# RFC 3986 reg-name or IP literal, then an optional port. No comma, because a comma joins the values of two Host fields.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]*)(?::[0-9]*)?")


def field_splitter(
    names: list[str], *, look_alikes: bool = False, conditional: dict[str, str] | None = None
) -> re.Pattern[bytes]:
    """A pattern whose `split` returns, for an accepted head: bytes before, name, value, bytes between, name, value, …, the rest.

    With `look_alikes`, names with underscores instead of hyphens are found as well, as they are written. `conditional` has fields
    that are only found if their value matches a pattern. For speed, the first two letters are checked first, which excludes most
    fields, and names are grouped by first letter.
    """
    conditional = conditional or {}
    words = {name: re.escape(name) for name in names}
    if look_alikes:
        words = {name: word.replace(re.escape("-"), "[-_]") for name, word in words.items()}
    words |= {name: f"{name}(?=:[ \t]*(?:{value}))" for name, value in conditional.items()}
    look = _letters(name[0] for name in words) + _letters(name[1] for name in words)
    by_letter: dict[str, list[str]] = {}
    for word in words.values():
        by_letter.setdefault(word[0], []).append(word[1:])
    any_name = "|".join(f"{_letters(letter)}(?i:{'|'.join(rest)})" for letter, rest in by_letter.items())
    return re.compile(f"\r\n(?={look})({any_name}):[ \t]?([^\r]*)".encode())


def _letters(letters: Iterable[str]) -> str:
    """A character class of these letters in both cases; a hyphen also allows an underscore."""
    found = {each for letter in letters for each in (letter, letter.upper())}
    return f"[{''.join(sorted(found - {'-'}))}{'_-' if '-' in found else ''}]"


@lru_cache(maxsize=256)
def encode_fields(fields: Fields) -> bytes:
    """Lines of fields that are added to a head. Cached, because most responses of an application have the same ones."""
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def collect(parts: list[bytes]) -> dict[bytes, list[bytes]]:
    """The fields that a splitter has found: values by lower-case name, in their order."""
    found: dict[bytes, list[bytes]] = {}
    for at in range(1, len(parts), 3):
        found.setdefault(parts[at].lower(), []).append(parts[at + 1].strip(b" \t"))
    return found


def field_pairs(head: bytes) -> list[Field]:
    """All fields of an accepted head, with lower-case names."""
    pairs = [line.split(b":", 1) for line in head.split(CRLF)[1:] if line]
    return [(name.lower(), value.strip(b" \t")) for name, value in pairs]


@lru_cache(maxsize=256)
def _cached_pairs(head: bytes) -> Fields:
    return tuple(field_pairs(head))


def response_pairs(head: bytes) -> Sequence[Field]:
    """The same of a response. Those of short heads are cached: responses of an application are often the same for a second, as
    long as their Date is."""
    return _cached_pairs(head) if len(head) <= MAX_CACHED_HEAD else field_pairs(head)


def without_fields(block: bytes, names: frozenset[bytes]) -> bytes:
    """A block of fields ("\\r\\nName: value…\\r\\n") without the fields of these lower-case names."""
    lines = block.split(CRLF)
    return CRLF.join(line for line in lines if line.partition(b":")[0].lower() not in names)


def edited_head(head: bytes, edit: FieldEdit) -> bytes:
    """A whole head, with its empty line, after the changes of a route. The first line stays."""
    first, *lines = head[: -len(HEAD_END)].split(CRLF)
    if edit.dropped:
        lines = [line for line in lines if not edit.drops(line.partition(b":")[0])]
    return CRLF.join((first, *lines, *(b"%b: %b" % field for field in edit.added))) + HEAD_END


def host_is_valid(host: bytes) -> bool:
    """Whether a Host value is exactly one valid authority. An empty name is not (RFC 9110 4.2.1)."""
    if not host.translate(None, _HOST_PLAIN):
        return bool(host)
    return host[:1] != b":" and _HOST.fullmatch(host) is not None


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """The lower-case options of all Connection fields of a message."""
    return frozenset(tokens(values))


def tokens(values: list[bytes]) -> list[bytes]:
    """The elements of a list field, which may occur several times, in lower case. Raises GrammarError if there are too many: a
    head has room for 30,000 empty ones, which would take far longer than a usual request."""
    count = len(values)
    for value in values:
        count += value.count(b",")
    if count > MAX_ELEMENTS:
        raise GrammarError(f"a list of more than {MAX_ELEMENTS} elements")
    return [element.strip(b" \t") for value in values for element in value.lower().split(b",")]


def is_tied_to_connection(values: list[bytes]) -> bool:
    """Whether Authorization or WWW-Authenticate fields use a scheme that authenticates the connection and not the request.

    With NTLM, and Negotiate if it falls back to NTLM, the server attributes all later requests on the connection to the
    authenticated user (RFC 4559 6, MS-NTHT).
    """
    return any(element.partition(b" ")[0] in _CONNECTION_SCHEMES for element in tokens(values))
