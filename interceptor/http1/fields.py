"""Rules about header fields that requests, responses and trailers share (RFC 9110, RFC 9112). Pure.

llhttp accepts or refuses a head as a whole. Once it has accepted one, line ends stand only between fields and a colon ends
each name, so one regular expression takes out the fields that a proxy must read, and leaves the others as they came.
"""

from __future__ import annotations

import re

__all__ = [
    "CHUNKED",
    "CHUNKED_LINE",
    "CRLF",
    "HEAD_END",
    "MAX_FIELDS",
    "MAX_LENGTH_DIGITS",
    "NO_BODY",
    "collect",
    "connection_options",
    "field_splitter",
    "host_is_valid",
    "without_fields",
]

CRLF = b"\r\n"
HEAD_END = b"\r\n\r\n"
CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n"

CHUNKED = -1
"""Body length of a message in chunks."""
NO_BODY = 0

MAX_LENGTH_DIGITS = 18
"""Of a Content-Length: below 2**63 whatever they are."""
MAX_FIELDS = 256
"""Header fields in one head. Browsers send about 20, gateways add a dozen; nginx and HAProxy stop near 100 to 200."""

_HOST_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
# RFC 3986 reg-name or IP literal, then an optional port. The comma is left out: it joins two Hosts.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]*)(?::[0-9]*)?")


def field_splitter(names: list[str], *, look_alikes: bool = False) -> re.Pattern[bytes]:
    """A pattern whose `split` gives, for an accepted head: bytes before, name, value, bytes between, name, value, … and the rest.

    With `look_alikes` also fields named with an underscore for a hyphen are found, under that name of theirs. The look at the
    first letter spares most fields the comparison with every name.
    """
    first = "".join(sorted({letter for name in names for letter in (name[0], name[0].upper())}))
    any_name = "|".join(map(re.escape, names))
    if look_alikes:
        any_name = any_name.replace(re.escape("-"), "[-_]")
    return re.compile(f"\r\n(?=[{first}])((?i:{any_name})):[ \t]*([^\r]*)".encode())


def collect(parts: list[bytes]) -> dict[bytes, list[bytes]]:
    """The fields that a splitter took out: values by lower-case name, in their order."""
    found: dict[bytes, list[bytes]] = {}
    for at in range(1, len(parts), 3):
        found.setdefault(parts[at].lower(), []).append(parts[at + 1].rstrip(b" \t"))
    return found


def without_fields(block: bytes, names: frozenset[bytes]) -> bytes:
    """A block of fields ("\\r\\nName: value…\\r\\n") without those of some lower-case names."""
    lines = block.split(CRLF)
    return CRLF.join(line for line in lines if line.partition(b":")[0].lower() not in names)


def host_is_valid(host: bytes) -> bool:
    """Whether a Host value can name exactly one authority."""
    return not host.translate(None, _HOST_PLAIN) or _HOST.fullmatch(host) is not None


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """The lower-case options of all Connection fields of a message."""
    return frozenset(option.strip(b" \t") for value in values for option in value.lower().split(b","))
