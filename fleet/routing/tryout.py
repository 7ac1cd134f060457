"""How a person tries a claim: the address to open in a browser, or the command where opening one is not enough. Pure.

Texts come from whoever wrote the route: whoever shows them makes them fit for a page or for a terminal.
"""

from __future__ import annotations

import shlex
from urllib.parse import quote

from fleet.routing.claims import ANY_HOST, Claim, normal_host

__all__ = ["address_of", "command_for", "is_local_name"]

LOCAL = "localhost"
ANY_LABEL = "any"
"""What stands for the star of a wildcard."""
ANY_VALUE = "x"
"""What a header is given of which any value will do."""


def is_local_name(host: str) -> bool:
    """Whether the name means the machine that it is looked up on (RFC 6761 6.3), so that it needs no entry in the DNS."""
    return host == LOCAL or host.endswith(f".{LOCAL}")


def address_of(claim: Claim, at: str) -> str | None:
    """The URL that reaches what claims this. `at` is "host:port" of an interceptor as the person reaches it.

    None when opening a URL is not enough: the request needs headers, or a name that means nothing to a resolver here.
    """
    here = normal_host(at.encode()).decode()
    if claim.headers:
        return None
    if claim.host in (ANY_HOST, here):
        return f"http://{at}{_path(claim)}"
    if is_local_name(claim.host) and (is_local_name(here) or _is_loopback(here)):
        return f"http://{claim.host.replace('*', ANY_LABEL)}{_port(at)}{_path(claim)}"
    return None


def command_for(claim: Claim, at: str) -> str:
    """The same as a line for a shell."""
    fields = [f"{header.name}: {ANY_VALUE if header.value is None else header.value}" for header in claim.headers]
    url = address_of(Claim(claim.host, claim.path), at)
    if url is None:
        fields.insert(0, f"Host: {_written(claim.host)}")
        url = f"http://{at}{_path(claim)}"
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
