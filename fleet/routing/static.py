"""Which static route answers a request: the first that fits. Pure; whether it may answer now is decided elsewhere.

Rules mean what they mean for routes. Cost: that of one look-up in a table, and a look at each static route whose host and
path fit.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleet.routing.claims import claims_of, normal_host
from fleet.routing.match import Headers, Index
from fleet.routing.route import Rule, StaticRoute

__all__ = ["StaticRoutes"]

_USER_AGENT = b"user-agent"
_EVERY_REQUEST = (Rule(),)


class _Agents:
    """Patterns of user agents. Compared in time that grows with the length of the header only, whoever wrote the pattern."""

    __slots__ = ("_parts", "_words")

    def __init__(self, patterns: Sequence[str]) -> None:
        split = [tuple(pattern.encode().lower().split(b"*")) for pattern in patterns]
        self._words = tuple(parts[1] for parts in split if _is_word(parts))
        """Of patterns such as "*bot*", which most are."""
        self._parts = tuple(parts for parts in split if not _is_word(parts))

    def fit(self, agent: bytes) -> bool:
        """Whether one fits a user agent in lower case."""
        for word in self._words:
            if word in agent:
                return True
        return any(_fits(agent, parts) for parts in self._parts)


def _is_word(parts: Sequence[bytes]) -> bool:
    return len(parts) == 3 and not parts[0] and not parts[2]


def _agent_of(headers: Headers) -> bytes | None:
    """The user agent in lower case; of several, which is an error of the client's, the first."""
    for name, value in headers:
        if name == _USER_AGENT:
            return value.lower()
    return None


def _fits(text: bytes, parts: Sequence[bytes]) -> bool:
    """Whether a text is these parts with anything between them. The first place for each part is as good as any other."""
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
    """A static route and its place in the list."""

    __slots__ = ("agents", "created", "route")

    app = ""

    def __init__(self, position: int, route: StaticRoute) -> None:
        self.route = route
        self.created = float(position)
        self.agents = _Agents(route.user_agents) if route.user_agents else None


class StaticRoutes:
    """The static routes of one valid route. Never changed once it is built."""

    __slots__ = ("_index", "always", "reads_fields", "reads_headers", "reads_methods")

    def __init__(self, routes: Sequence[StaticRoute]) -> None:
        entries = [_Entry(position, route) for position, route in enumerate(routes)]
        self._index = Index((claim, entry) for entry in entries for claim in claims_of(entry.route.rules or _EVERY_REQUEST))
        self.always = any(route.always for route in routes)
        """Whether any answers while a backend is ready, too; without one, nobody needs to ask then."""
        self.reads_headers = any(route.user_agents or any(rule.headers for rule in route.rules) for route in routes)
        """Whether any asks for a header; without one, `find` may be given none."""

        self.reads_methods = any(rule.methods for route in routes for rule in route.rules)
        """Whether any asks for a method."""
        self.reads_fields = self.reads_headers or self.reads_methods

    def find(self, host: bytes, path: bytes, headers: Headers) -> StaticRoute | None:
        """The first that fits a request, or None. The arguments are those of `RoutingTable.match`.

        One that is not `always` and that fits first keeps later ones from answering: while a backend is ready, such a
        request goes there.
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
