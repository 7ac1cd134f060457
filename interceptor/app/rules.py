"""What the rules of a route change about requests and responses, prepared once for each version of the route. Pure."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from fleet.routing.prefix import WHOLE_SERVER, new_prefix, with_prefix
from fleet.routing.redirect import location
from fleet.routing.route import HeaderChanges, Route
from fleet.routing.rules import RuleFinder, RulePath, treats
from interceptor.core.errors import BadRequest
from interceptor.core.messages import FieldEdit, Fields, Request, RequestEdit
from interceptor.core.replies import Reply

__all__ = ["Rules", "S", "Treatment", "rules_of"]

_ORIGINAL: Final = b"X-Envoy-Original-Path"
_PREFIX: Final = b"X-Forwarded-Prefix"


S = TypeVar("S")
"""The backends of a rule."""


class Treatment(Generic[S]):
    """What happens to the requests that fit a rule by one of its prefixes."""

    __slots__ = ("_changes", "_found", "_original", "_own_fields", "_prefix", "_redirect", "_rewrite", "response", "shares")

    def __init__(self, found: RulePath) -> None:
        rule = found.rule
        self._found, self._redirect = found, rule.redirect
        self.shares: S | None = None
        """The backends of the rule; None for the target of the application."""
        self._prefix = found.segments
        self._rewrite = None if rule.rewrite is None else new_prefix(rule.rewrite.prefix)
        changes = _field_edit(rule.request_headers)
        own = ((_PREFIX, found.path.encode()),) if self._rewrite == b"" and self._prefix else ()
        self._own_fields: Fields = tuple(field for field in own if not changes.drops(field[0]))
        """The prefix that is removed from the path, as a field for the backend, which needs it for its links."""
        self._original = rule.rewrite is not None and not changes.drops(_ORIGINAL)
        """Whether the backend gets the original target in a field."""
        dropped = changes.dropped | {_ORIGINAL.lower()} if rule.rewrite is not None else changes.dropped
        self._changes = FieldEdit(dropped, changes.added)
        self.response: FieldEdit | None = _field_edit(rule.response_headers) or None
        """What is changed about the response of a backend."""

    def edit(self, head: Request) -> RequestEdit | None:
        """What is changed about a request on its way to the backend; None if nothing is. Raises BadRequest for a path that may or
        may not be one of the rule."""
        target, changes = head.target, self._changes
        if self._rewrite is None or target == WHOLE_SERVER:
            return RequestEdit(changes.dropped, changes.added, target=target) if changes else None
        path = with_prefix(head.path, self._prefix, self._rewrite)
        if path is None:
            raise _leads_out()
        own = (*self._own_fields, (_ORIGINAL, target)) if self._original else self._own_fields
        return RequestEdit(changes.dropped, (*own, *changes.added), target=path + target[len(head.path) :])

    def redirect(self, head: Request) -> Reply | BadRequest | None:
        """The answer of a rule that redirects; None for others."""
        if self._redirect is None:
            return None
        query = head.target[len(head.path) :]
        leads_to = location(self._found, self._redirect, host=head.host, path=head.path, query=query)
        if leads_to is None:
            return _leads_out()
        return Reply(self._redirect.status, ((b"Location", leads_to),))


def _leads_out() -> BadRequest:
    return BadRequest('a path with ".." that leads out of the prefix of its route', reason="target")


def _field_edit(changes: HeaderChanges | None) -> FieldEdit:
    if changes is None:
        return FieldEdit()
    named = (*(name for name, _ in changes.set), *changes.remove)
    added = tuple((name.encode(), value.encode()) for name, value in (*changes.set, *changes.add))
    return FieldEdit(frozenset(name.lower().replace("_", "-").encode() for name in named), added)


class Rules(Generic[S]):
    """The rules of one route."""

    __slots__ = ("_by_number", "_finder", "_treatments", "redirects")

    def __init__(self, route: Route) -> None:
        self._finder = RuleFinder(route.rules)
        self._treatments: dict[int, Treatment[S]] = {id(path): Treatment(path) for path in self._finder.paths}
        self.redirects = any(rule.redirect is not None for rule in route.rules)
        """Whether `Treatment.redirect` has to be asked."""
        self._by_number = [(path.number, self._treatments[id(path)]) for path in self._finder.paths]

    def bind(self, number: int, shares: S) -> None:
        """Set the backends of a rule."""
        for other, treatment in self._by_number:
            if other == number:
                treatment.shares = shares

    def find(self, head: Request) -> Treatment[S] | None:
        """What happens to a request; None if it fits no rule."""
        finder = self._finder
        fields = head.routing_fields(headers=finder.reads_headers, method=finder.reads_methods) if finder.reads_fields else ()
        found = finder.find(head.base_host or head.host, head.path, fields)
        return None if found is None else self._treatments[id(found)]


def rules_of(route: Route) -> Rules[S] | None:
    """None for a route whose rules say only which requests fit them: its requests pay nothing for this."""
    return Rules(route) if treats(route) else None
