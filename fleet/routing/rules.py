"""Which rule of a route a request has come by, for routes whose rules say what happens to it. Pure.

The table has found the route already. Among the claims of this route the order of preference is the same, so the best one here is
the one by which the table has found it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleet.routing.claims import Claim, claims_of
from fleet.routing.match import Headers, Index
from fleet.routing.route import Route, Rule

__all__ = ["TREATMENT", "RuleFinder", "RulePath", "treats"]

TREATMENT: Final = ("rewrite", "request_headers", "response_headers", "redirect", "backends")
"""Fields of a rule that say what happens to its requests."""


class RulePath:
    """A rule, and the prefix by which a request fits it."""

    __slots__ = ("created", "number", "path", "rule")

    app = ""

    def __init__(self, number: int, rule: Rule, path: str) -> None:
        self.number = number
        """The position of the rule in the route."""
        self.created = float(number)
        self.rule = rule
        self.path = path
        """In normal form: "/api", or "/"."""

    @property
    def segments(self) -> bytes:
        """The prefix as `fleet.routing.prefix` takes it."""
        return self.path[1:].encode()


def treats(route: Route) -> bool:
    """Whether any rule says more than which requests fit it."""
    return any(getattr(rule, field) for rule in route.rules for field in TREATMENT)


class RuleFinder:
    """The rules of one valid route. Immutable once built."""

    __slots__ = ("_index", "_only", "paths", "reads_fields", "reads_headers", "reads_methods")

    def __init__(self, rules: Sequence[Rule]) -> None:
        found: dict[tuple[int, str], RulePath] = {}
        owners: dict[Claim, RulePath] = {}
        for number, rule in enumerate(rules):
            for claim in claims_of([rule]):
                owners.setdefault(claim, found.setdefault((number, claim.path), RulePath(number, rule, claim.path)))
        self._index = Index(owners.items())
        self.paths = tuple(found.values())
        """All that `find` may return."""
        self._only = self.paths[0] if len(self.paths) == 1 else None
        self.reads_headers = any(rule.headers for rule in rules)
        """Whether any of them checks a header; if not, `find` may be called without headers."""
        self.reads_methods = any(rule.methods for rule in rules)
        """Whether any of them checks the method."""
        self.reads_fields = self._only is None and (self.reads_headers or self.reads_methods)

    def find(self, host: bytes, path: bytes, headers: Headers) -> RulePath | None:
        """The rule and the prefix of a request of this route; None if it is of another one. The arguments are those of
        `RoutingTable.match`."""
        return self._only or self._index.search(host, path, headers)
