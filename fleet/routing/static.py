"""Finds the static route that answers a request: the first that matches. Pure. Whether it may answer now is decided by the
caller.

Rules have the same meaning as in routes. Cost: one lookup in an index, and a check of each static route whose host and path
match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleet.routing.claims import claims_of
from fleet.routing.host import normal_host
from fleet.routing.match import Headers, Index
from fleet.routing.route import Rule, StaticRoute

__all__ = ["StaticRoutes"]

_USER_AGENT: Final = b"user-agent"
_EVERY_REQUEST: Final = (Rule(),)


class _Agents:
    """Patterns of user agents. Matching takes time linear in the length of the header, whatever the pattern."""

    __slots__ = ("_parts", "_words")

    def __init__(self, patterns: Sequence[str]) -> None:
        split = [tuple(pattern.encode().lower().split(b"*")) for pattern in patterns]
        self._words = tuple(parts[1] for parts in split if _is_word(parts))
        """The words of patterns such as "*bot*", which are the most common."""
        self._parts = tuple(parts for parts in split if not _is_word(parts))

    def fit(self, agent: bytes) -> bool:
        """Whether one pattern matches a user agent in lower case."""
        for word in self._words:
            if word in agent:
                return True
        return any(_fits(agent, parts) for parts in self._parts)


def _is_word(parts: Sequence[bytes]) -> bool:
    return len(parts) == 3 and not parts[0] and not parts[2]


def _agent_of(headers: Headers) -> bytes | None:
    """The user agent in lower case; the first one if there are several, which is invalid."""
    for name, value in headers:
        if name == _USER_AGENT:
            return value.lower()
    return None


def _fits(text: bytes, parts: Sequence[bytes]) -> bool:
    """Whether a text consists of these parts with anything in between. Taking the first occurrence of each part is sufficient."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return text == first
    if not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return at <= end


class _Entry:
    """A static route and its position in the list."""

    __slots__ = ("agents", "created", "route")

    app = ""

    def __init__(self, position: int, route: StaticRoute) -> None:
        self.route = route
        self.created = float(position)
        self.agents = _Agents(route.user_agents) if route.user_agents else None


class StaticRoutes:
    """The static routes of one valid route. Immutable once built."""

    __slots__ = ("_index", "always", "reads_fields", "reads_headers", "reads_methods")

    def __init__(self, routes: Sequence[StaticRoute]) -> None:
        entries = [_Entry(position, route) for position, route in enumerate(routes)]
        self._index = Index((claim, entry) for entry in entries for claim in claims_of(entry.route.rules or _EVERY_REQUEST))
        self.always = any(route.always for route in routes)
        """Whether any of them answers also while a backend is ready; if not, `find` is not needed then."""
        self.reads_headers = any(route.user_agents or any(rule.headers for rule in route.rules) for route in routes)
        """Whether any of them checks a header; if not, `find` may be called without headers."""

        self.reads_methods = any(rule.methods for route in routes for rule in route.rules)
        """Whether any of them checks the method."""
        self.reads_fields = self.reads_headers or self.reads_methods

    def find(self, host: bytes, path: bytes, headers: Headers) -> StaticRoute | None:
        """The first that matches a request, or None. The arguments are those of `RoutingTable.match`.

        A static route that is not `always` and matches first hides later ones: while a backend is ready, the request goes to the
        backend.
        """
        best: _Entry | None = None
        agent: bytes | None = None
        for candidate in self._index.candidates(normal_host(host), path):
            entry = candidate.owner
            if (best is not None and entry.created >= best.created) or not candidate.is_met(headers):
                continue
            if entry.agents is not None:
                agent = agent if agent is not None else _agent_of(headers)
                if agent is None or not entry.agents.fit(agent):
                    continue
            best = entry
        return None if best is None else best.route
