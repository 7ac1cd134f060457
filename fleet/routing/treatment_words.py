"""Describes what the rules of a route do with a request that goes to it, for `weir explain`. Pure.

Names of headers are shown, their values never.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleet.routing.match import Headers
from fleet.routing.prefix import WHOLE_SERVER, new_prefix, with_prefix
from fleet.routing.redirect import location
from fleet.routing.route import HeaderChanges, Route, Rule
from fleet.routing.rules import RuleFinder, RulePath, treats

__all__ = ["treatment"]


def treatment(route: Route, host: bytes, path: bytes, headers: Headers) -> Iterator[str]:
    """What happens to a request of this route. The arguments are those of `RoutingTable.match`."""
    found = RuleFinder(route.rules).find(host, path, headers) if treats(route) else None
    if found is not None:
        for words in _said(found, host, path):
            yield f"rules[{found.number}]: {words}"


def _said(found: RulePath, host: bytes, path: bytes) -> Iterator[str]:
    rule = found.rule
    if rule.redirect is not None:
        leads_to = location(found, rule.redirect, host=host, path=path, query=b"")
        yield (
            _refused(found) if leads_to is None else f"answers {rule.redirect.status} to {leads_to.decode()}, and is not counted"
        )
        return
    if rule.rewrite is not None and path != WHOLE_SERVER:
        new = with_prefix(path, found.segments, new_prefix(rule.rewrite.prefix))
        yield _refused(found) if new is None else f"{found.path} becomes {rule.rewrite.prefix}: the backend reads {_text(new)}"
    for changes, whose in ((rule.request_headers, "request"), (rule.response_headers, "response")):
        if changes is not None:
            yield f"headers of the {whose}: {_changed(changes)}"
    if rule.backends:
        yield f"goes to {_backends(rule)}"


def _refused(found: RulePath) -> str:
    return f'answers 400: ".." lead out of {found.path}'


def _changed(changes: HeaderChanges) -> str:
    kinds = (
        ("sets", [name for name, _ in changes.set]),
        ("adds", [name for name, _ in changes.add]),
        ("removes", changes.remove),
    )
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in kinds if names) or "nothing is changed"


def _backends(rule: Rule) -> str:
    whole = sum(backend.weight for backend in rule.backends)
    return ", ".join(f"{backend.key} ({100 * backend.weight / whole:.3g} %)" for backend in rule.backends if backend.weight)


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace")
