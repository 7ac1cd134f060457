"""Explains step by step which route matches a request, for `weir explain`. Follows the same order as `RoutingTable.match`, and as
requests choose among previews."""

from __future__ import annotations

import msgspec

from fleet.routing.context import Context, Source
from fleet.routing.host import normal_host
from fleet.routing.match import METHOD, Candidate, Headers, HostPattern, carries
from fleet.routing.preview_index import ByHost
from fleet.routing.route import Route
from fleet.routing.table import RoutingTable

__all__ = ["Explanation", "explain"]


class Explanation(msgspec.Struct, frozen=True):
    """The matching route, and the steps that led to it. Names of headers are included, values from the request never."""

    route: Route | None
    steps: tuple[str, ...]


def explain(table: RoutingTable, host: bytes, path: bytes, headers: Headers) -> Explanation:
    """Match a request as `RoutingTable.match` does, and record the steps."""
    name = normal_host(host)
    steps = [f"host {_text(name)}, path {_text(path)}"]
    preview = _preview(table, name, path, headers)
    if preview is not None:
        if table.previews is not None and preview.name in table.previews.names[preview.base.app]:
            steps.append(f"{_text(name)}: the host of preview {_text(preview.name)} of {preview.base.app}")
        return _explain_copy(table, preview.base, headers, preview.name, steps)
    for candidate in table.index.hosts(name):
        route = _explain_host(candidate, path, headers, steps)
        if route is not None:
            return _explain_copy(table, route, headers, b"", steps)
    steps.append("no host pattern is left: no route")
    return Explanation(None, tuple(steps))


def _explain_copy(table: RoutingTable, base: Route, headers: Headers, by_host: bytes, steps: list[str]) -> Explanation:
    """Of an application with previews: the one that the request names."""
    if base.previews is None or table.previews is None:
        return Explanation(base, tuple(steps))
    context = Context(base.previews)
    source, name = context.read(headers, by_host)
    app = table.previews.names[base.app].get(name)
    if app is not None:
        return Explanation(table.apps[app], (*steps, f"preview {_text(name)}, by the {source.value}: taken by {app}"))
    if source is Source.NONE:
        return Explanation(base, (*steps, f"no preview of {base.app} is named"))
    what = f"{base.app} has no preview {_text(name)}" if name else "is no name of a preview"
    steps.append(f"by the {source.value}: {what}, " + ("refused" if context.refuses_unknown else f"taken by {base.app}"))
    return Explanation(None if context.refuses_unknown else base, tuple(steps))


def _preview(table: RoutingTable, host: bytes, path: bytes, headers: Headers) -> ByHost | None:
    previews, route = table.previews, table.match(host, path, headers)
    return None if previews is None or route is None else previews.by_host(route, host, path, headers)


def _explain_host(host: HostPattern[Route], path: bytes, headers: Headers, steps: list[str]) -> Route | None:
    nodes = host.nodes(path)
    prefixes = ", ".join(node.candidates[0].claim.path for node in reversed(nodes))
    steps.append(f"host {host.pattern}: " + (f"path prefixes that fit: {prefixes}" if nodes else "no path prefix fits"))
    for node in reversed(nodes):
        for candidate in node.candidates:
            app = candidate.owner.app
            missing = _missing(candidate, headers)
            if missing is None:
                steps.append(f"{candidate.claim}: taken by {app}")
                return candidate.owner
            steps.append(f"{candidate.claim}: not {app}, {missing}")
    return None


def _missing(candidate: Candidate[Route], headers: Headers) -> str | None:
    for name, value in candidate.wanted:
        if not carries(headers, name, value):
            return _reason(name, present=carries(headers, name, None))
    return None


def _reason(name: bytes, *, present: bool) -> str:
    if name == METHOD:
        return "the method is another"
    return f"header {name.decode()} has another value" if present else f"header {name.decode()} is missing"


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace") or '""'
