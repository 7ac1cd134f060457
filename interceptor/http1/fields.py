"""Rules about header fields that requests, responses and trailers share (RFC 9110, RFC 9112). Pure.

A head is accepted or refused as a whole. Once it is accepted, line ends stand only between fields and a colon ends each name,
so one regular expression takes out the fields that a proxy must read, and leaves the others as they came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from interceptor.core.messages import Fields
from interceptor.http1.grammar import GrammarError

__all__ = [
    "CHUNKED",
    "CHUNKED_LINE",
    "CONNECTION_SCHEMES",
    "CRLF",
    "HEAD_END",
    "MAX_FIELDS",
    "MAX_LENGTH_DIGITS",
    "TOLD_BY_PROXIES",
    "collect",
    "connection_options",
    "encode_fields",
    "field_splitter",
    "host_is_valid",
    "is_tied_to_connection",
    "tokens",
    "without_fields",
]

CRLF = b"\r\n"
HEAD_END = b"\r\n\r\n"
CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n"

CHUNKED = -1
"""Body length of a message in chunks."""

MAX_LENGTH_DIGITS = 18
"""Of a Content-Length: below 2**63 whatever they are."""
MAX_FIELDS = 256
"""Header fields in one head. Browsers send about 20, gateways add a dozen; nginx and HAProxy stop near 100 to 200."""

CONNECTION_SCHEMES = ("ntlm", "negotiate", "nego2", "kerberos")
"""Of authentication: those by which a server may take the connection, and not each request, for authenticated."""
_CONNECTION_SCHEMES = frozenset(name.encode() for name in CONNECTION_SCHEMES)
TOLD_BY_PROXIES = (
    "forwarded",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-real-ip",
)
"""What else than X-Forwarded-For, -Proto and -Host proxies tell of the client that came to them."""
MAX_ELEMENTS = 256
"""Of a list in the fields of one name, where the proxy has to look at each."""
_HOST_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
# RFC 3986 reg-name or IP literal, then an optional port. The comma is left out: it joins two Hosts.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]*)(?::[0-9]*)?")


def field_splitter(
    names: list[str], *, look_alikes: bool = False, conditional: dict[str, str] | None = None
) -> re.Pattern[bytes]:
    """A pattern whose `split` gives, for an accepted head: bytes before, name, value, bytes between, name, value, … and the rest.

    With `look_alikes` also fields named with an underscore for a hyphen are found, under that name of theirs. `conditional` names
    fields that are only found when their value begins with a pattern. The look at the first two letters spares most fields the
    comparison with any name, and the first letter most names.
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
    """A class of some letters of either case, and of what stands for a hyphen."""
    found = {each for letter in letters for each in (letter, letter.upper())}
    return f"[{''.join(sorted(found - {'-'}))}{'_-' if '-' in found else ''}]"


@lru_cache(maxsize=256)
def encode_fields(fields: Fields) -> bytes:
    """Lines of fields that are added to a head; most answers of an application have the same ones."""
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def collect(parts: list[bytes]) -> dict[bytes, list[bytes]]:
    """The fields that a splitter took out: values by lower-case name, in their order."""
    found: dict[bytes, list[bytes]] = {}
    for at in range(1, len(parts), 3):
        found.setdefault(parts[at].lower(), []).append(parts[at + 1].strip(b" \t"))
    return found


def without_fields(block: bytes, names: frozenset[bytes]) -> bytes:
    """A block of fields ("\\r\\nName: value…\\r\\n") without those of some lower-case names."""
    lines = block.split(CRLF)
    return CRLF.join(line for line in lines if line.partition(b":")[0].lower() not in names)


def host_is_valid(host: bytes) -> bool:
    """Whether a Host value names exactly one authority. An empty name is none (RFC 9110 4.2.1)."""
    if not host.translate(None, _HOST_PLAIN):
        return bool(host)
    return host[:1] != b":" and _HOST.fullmatch(host) is not None


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """The lower-case options of all Connection fields of a message."""
    return frozenset(tokens(values))


def tokens(values: list[bytes]) -> list[bytes]:
    """The elements of all fields of one name that is defined as a list, in lower case. Raises GrammarError for too many of them:
    each of 30,000 empty ones would take as long as a whole request does."""
    count = len(values)
    for value in values:
        count += value.count(b",")
    if count > MAX_ELEMENTS:
        raise GrammarError(f"a list of more than {MAX_ELEMENTS} elements")
    return [element.strip(b" \t") for value in values for element in value.lower().split(b",")]


def is_tied_to_connection(values: list[bytes]) -> bool:
    """Whether Authorization or WWW-Authenticate fields name a scheme that authenticates the connection and not the request.

    NTLM, and Negotiate where it turns into NTLM: after it, whatever comes on that connection comes from the user who was
    authenticated (RFC 4559 6, MS-NTHT).
    """
    return any(element.partition(b" ")[0] in _CONNECTION_SCHEMES for element in tokens(values))
