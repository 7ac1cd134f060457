"""The mark on requests that go to targets outside of discovery (CDN-Loop, RFC 8586), by which one that comes back is seen. Pure.

Such a target may be any address, also that of a load balancer in front of these interceptors: then a request would go round until
a limit ends it, and each round costs more than one request. The mark says which route, not which installation, so all
interceptors see it, and several installations may be in one chain.
"""

from __future__ import annotations

import hashlib
from typing import Final

from fleet.routing.route import Route
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Request, RequestEdit

__all__ = ["came_back", "loop", "mark_of", "marked"]

_FIELD: Final = b"CDN-Loop"
_NAME: Final = _FIELD.lower()
_SHOWN_DIGITS: Final = 24
"""Hexadecimal digits of the mark: nothing else has the same by chance. Who guesses it has a request of their own
refused."""


def mark_of(route: Route) -> bytes:
    """A pseudonym as RFC 8586 calls it, of a route and its targets."""
    named = "\0".join((route.app, *(target.key for target in route.targets)))
    return b"weir-" + hashlib.sha256(named.encode()).hexdigest()[:_SHOWN_DIGITS].encode()


def came_back(head: Request, mark: bytes) -> bool:
    """Whether a request has been sent to this route's target already."""
    return any(mark in value for name, value in head.match_fields() if name == _NAME)


def loop(app: str) -> ExchangeError:
    """The answer to it."""
    why = f"application {app}: its target leads back here"
    return ExchangeError(why, status=508, reason="loop")


def marked(edit: RequestEdit | None, head: Request, mark: bytes) -> RequestEdit:
    """What is changed about a request on its way: what its route changes, and the mark, beside those that it has."""
    own = (_FIELD, mark)
    if edit is None:
        return RequestEdit(added=(own,), target=head.target)
    return RequestEdit(edit.dropped, (*edit.added, own), target=edit.target)
