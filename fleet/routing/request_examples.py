"""Example requests for a claim: a URL to open in a browser, or a curl command when a URL is not enough. Pure.

The texts contain parts written by a route's author: the caller makes them safe for a page or a terminal.
"""

from __future__ import annotations

import shlex
from typing import Final
from urllib.parse import quote

from fleet.routing.claims import ANY_HOST, Claim
from fleet.routing.host import normal_host

__all__ = ["address_of", "command_for", "is_local_name"]

LOCAL: Final = "localhost"
ANY_LABEL: Final = "any"
"""Replaces the star of a wildcard host."""
ANY_VALUE: Final = "x"
"""Value of a required header for which any value will do."""


def is_local_name(host: str) -> bool:
    """Whether the name resolves to the local machine without DNS (RFC 6761 6.3)."""
    return host == LOCAL or host.endswith(f".{LOCAL}")


def address_of(claim: Claim, at: str, *, scheme: str = "http") -> str | None:
    """A URL that matches the claim. `at` is "host:port" of an interceptor as the person reaches it by this scheme.

    None when a URL is not enough: the request needs headers, or a host name that does not resolve here.
    """
    here = normal_host(at.encode()).decode()
    if claim.headers:
        return None
    if claim.host in (ANY_HOST, here):
        return f"{scheme}://{at}{_path(claim)}"
    if is_local_name(claim.host) and (is_local_name(here) or _is_loopback(here)):
        return f"{scheme}://{claim.host.replace('*', ANY_LABEL)}{_port(at)}{_path(claim)}"
    return None


def command_for(claim: Claim, at: str, *, scheme: str = "http") -> str:
    """A curl command that matches the claim."""
    fields = [f"{header.name}: {ANY_VALUE if header.value is None else header.value}" for header in claim.headers]
    url = address_of(Claim(claim.host, claim.path), at, scheme=scheme)
    if url is None:
        fields.insert(0, f"Host: {_written(claim.host)}")
        url = f"{scheme}://{at}{_path(claim)}"
    return " ".join(["curl", *(f"-H {shlex.quote(field)}" for field in fields), shlex.quote(url)])


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host.replace("*", ANY_LABEL)


def _path(claim: Claim) -> str:
    return quote(claim.path, safe="/%:@!,~=+")


def _port(at: str) -> str:
    _, colon, port = at.rpartition(":")
    return f":{port}" if colon and not port.endswith("]") else ""


def _is_loopback(host: str) -> bool:
    return host == "::1" or (host.startswith("127.") and host.replace(".", "").isdigit())
