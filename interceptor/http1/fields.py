"""Rules about header fields that requests, responses and trailers share (RFC 9110, RFC 9112). Pure."""

from __future__ import annotations

import re

__all__ = ["CHUNKED", "CHUNKED_LINE", "CRLF", "HEAD_END", "MAX_FIELDS", "NO_BODY", "connection_options", "host_is_valid"]

CRLF = b"\r\n"
HEAD_END = b"\r\n\r\n"
CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n"

CHUNKED = -1
"""Body length of a message in chunks."""
NO_BODY = 0

MAX_FIELDS = 256
"""Header fields in one head. Browsers send about 20, gateways add a dozen; nginx and HAProxy stop near 100 to 200."""

_HOST_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:_"
# RFC 3986 reg-name or IP literal, then an optional port. The comma is left out: it joins two Hosts.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]*)(?::[0-9]*)?")
_HOST_WITH_PORT = re.compile(rb"[^:]*(?::[0-9]*)?")


def host_is_valid(host: bytes) -> bool:
    """Whether a Host value can name exactly one authority."""
    if not host.translate(None, _HOST_PLAIN):
        return b":" not in host or _HOST_WITH_PORT.fullmatch(host) is not None
    return _HOST.fullmatch(host) is not None


def connection_options(values: list[bytes]) -> set[bytes]:
    """The lower-case options of all Connection fields of a message."""
    return {option.strip(b" \t") for value in values for option in value.lower().split(b",")}
