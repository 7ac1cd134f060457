"""Hosts: as requests and routes write them, and the one form in which they are compared. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["is_host", "normal_host"]

_IPV6_MAX: Final = 64  # longer than any IPv6 address with a zone; not worth parsing
_HOST_BYTES: Final = 253  # RFC 1035 section 2.3.4, in text form
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # RFC 1123 section 2.1, and the underscore that is in use
_HOST: Final = re.compile(rf"(?:\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\.?)(?::\d{{1,5}})?", re.ASCII | re.IGNORECASE)
_IPV6: Final = re.compile(r"\[([0-9a-f:.]+)\](?::\d{1,5})?|([0-9a-f:.]+)", re.ASCII | re.IGNORECASE)


def normal_host(host: bytes) -> bytes:
    """The Host of a request in normal form. An invalid host becomes a value that no claim can have."""
    host = host.lower()
    colon = host.find(b":")
    if colon >= 0:
        if host[:1] == b"[" or host.find(b":", colon + 1) >= 0:
            return _normal_ipv6(host)
        host = host[:colon]
    return host.removesuffix(b".")


def _normal_ipv6(host: bytes) -> bytes:
    literal = host[1 : host.find(b"]")] if host[:1] == b"[" and b"]" in host else host
    if len(literal) > _IPV6_MAX:
        return host
    try:
        return ipaddress.IPv6Address(literal.decode("ascii")).compressed.encode()
    except ValueError:
        # Keep the brackets: "[example.com]:80" must not match example.com.
        return host


def is_host(host: str) -> bool:
    """Whether a route may claim it: exact, a wildcard ("*.example.com") or "*"; with a port, perhaps. ASCII only."""
    return len(normal_host(host.encode())) <= _HOST_BYTES and (_HOST.fullmatch(host) is not None or _is_ipv6(host))


def _is_ipv6(host: str) -> bool:
    literal = _IPV6.fullmatch(host)
    try:
        return literal is not None and bool(ipaddress.IPv6Address(literal[1] or literal[2]))
    except ValueError:
        return False
