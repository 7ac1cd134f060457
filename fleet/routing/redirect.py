"""Where a redirect of a rule leads. Pure.

Nothing of it but host, path and query of the request comes from the client. The host is one that the rule names, unless the
redirect names another one; `fleet.routing.check` refuses redirects that would need the host of a rule for any host.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote_from_bytes

from fleet.routing.host import normal_host
from fleet.routing.prefix import WHOLE_SERVER, new_prefix, with_prefix
from fleet.routing.route import Redirect
from fleet.routing.rules import RulePath

__all__ = ["location", "needs_host"]

_KEPT: Final = "!$%&'()*+,/:;=?@[]"
"""Punctuation that is not encoded. Browsers take a backslash for a slash, and some clients stop at quotes and brackets."""
_USUAL_PORTS: Final = {"http": 80, "https": 443}


def needs_host(redirect: Redirect) -> bool:
    """Whether it leads to the host of the request, which it has to name then, because scheme or port are others."""
    return redirect.host is None and (redirect.scheme is not None or redirect.port is not None)


def location(found: RulePath, redirect: Redirect, *, host: bytes, path: bytes, query: bytes) -> bytes | None:
    """The value of Location for a request; `query` with its question mark. None for a path that leads out of the prefix.

    Without a scheme, "//host/path" keeps that by which the client came; without a host, "/path" keeps both.
    """
    whole = _path(found, redirect, path)
    if whole is None:
        return None
    return (_origin(redirect, host) + quote_from_bytes(whole + query, safe=_KEPT)).encode()


def _path(found: RulePath, redirect: Redirect, path: bytes) -> bytes | None:
    if redirect.path is not None:
        return redirect.path.encode()
    if redirect.prefix is not None:
        return with_prefix(path, found.segments, new_prefix(redirect.prefix))
    return b"/" if path == WHOLE_SERVER else path


def _origin(redirect: Redirect, host: bytes) -> str:
    if redirect.host is None and not needs_host(redirect):
        return ""
    name = redirect.host or _bracketed(normal_host(host).decode("ascii", "ignore"))
    port = redirect.port
    if port is None or (redirect.scheme is not None and _USUAL_PORTS[redirect.scheme] == port):
        authority = name
    else:
        authority = f"{name}:{port}"
    return f"//{authority}" if redirect.scheme is None else f"{redirect.scheme}://{authority}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
