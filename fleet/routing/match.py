"""Finds the route of a request, and explains the choice. Pure; what claims are allowed to be is decided elsewhere.

The order of preference: exact host, longest wildcard, "*"; then the longest path prefix on segment boundaries; then most
headers, most header values; then age and name of the route. Whatever fails further down is given up for the next candidate
further up. Cost: one look-up per label of the host, per segment of the path and per header of the request, however many
routes there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import msgspec

from fleet.routing.claims import ANY_HOST, Claim, normal_host, path_segments
from fleet.routing.route import HeaderMatch, Route

if TYPE_CHECKING:
    from fleet.routing.table import RoutingTable

__all__ = ["Explanation", "Headers", "Index", "explain"]

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values without surrounding space, in the order of the request."""


class _Candidate:
    """A claim and its route, with headers in the form in which requests have them."""

    __slots__ = ("claim", "others", "rank", "route", "wanted")

    def __init__(self, claim: Claim, route: Route) -> None:
        self.claim = claim
        self.route = route
        self.rank = 0
        self.wanted = tuple((h.name.encode(), None if h.value is None else h.value.encode()) for h in claim.headers)
        self.others = self.wanted
        """Wanted besides the header under which the candidate is filed."""


def _carries(headers: Headers, name: bytes, value: bytes | None) -> bool:
    if value is not None:
        return (name, value) in headers
    return any(pair[0] == name for pair in headers)


def _preference(candidate: _Candidate) -> tuple[int, int, float, str]:
    headers, route = candidate.claim.headers, candidate.route
    values = sum(1 for header in headers if header.value is not None)
    return (-len(headers), -values, route.created, route.app)


class _Node:
    """One path prefix of one host: the candidates that claim it, and the segments that go on from it."""

    __slots__ = ("by_header", "candidates", "children", "plain")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.candidates: list[_Candidate] = []
        self.plain: Route | None = None
        self.by_header: dict[bytes, dict[bytes | None, list[_Candidate]]] = {}

    def seal(self) -> None:
        """Sort the candidates, and file each that wants headers under the one of them that fewest others want."""
        if len(self.candidates) == 1 and not self.candidates[0].wanted:
            self.plain = self.candidates[0].route  # nearly every node of nearly every table
            return
        self.candidates.sort(key=_preference)
        shared = Counter(want for candidate in self.candidates for want in candidate.wanted)
        for rank, candidate in enumerate(self.candidates):
            candidate.rank = rank
            if not candidate.wanted:
                self.plain = candidate.route
                continue
            filed = min(candidate.wanted, key=lambda want: (shared[want], want[1] is None))
            candidate.others = tuple(want for want in candidate.wanted if want != filed)
            name, value = filed
            self.by_header.setdefault(name, {}).setdefault(value, []).append(candidate)

    def pick(self, headers: Headers) -> Route | None:
        best: _Candidate | None = None
        for name, value in headers:
            filed = self.by_header.get(name)
            if filed is not None:
                best = _better(best, filed.get(value, ()), headers)
                best = _better(best, filed.get(None, ()), headers)
        return self.plain if best is None else best.route


def _better(best: _Candidate | None, filed: Iterable[_Candidate], headers: Headers) -> _Candidate | None:
    for candidate in filed:
        if best is not None and candidate.rank >= best.rank:
            break
        if all(_carries(headers, name, value) for name, value in candidate.others):
            return candidate
    return best


class _Host:
    """The path prefixes of one host pattern, as a tree by segments."""

    __slots__ = ("depth", "pattern", "root", "whole")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.root = _Node()
        self.depth = 0
        self.whole: Route | None = None
        """The route of every request to this host, where nothing else needs to be asked."""

    def add(self, claim: Claim, route: Route) -> None:
        node = self.root
        segments = path_segments(claim.path)
        for segment in segments:
            node = node.children.get(segment) or node.children.setdefault(segment, _Node())
        node.candidates.append(_Candidate(claim, route))
        self.depth = max(self.depth, len(segments))

    def seal(self) -> None:
        todo = [self.root]
        while todo:
            node = todo.pop()
            node.seal()
            todo.extend(node.children.values())
        if not self.root.children and not self.root.by_header:
            self.whole = self.root.plain

    def nodes(self, path: bytes) -> list[_Node]:
        """The claimed prefixes of a path, longest last. Compared decoded, as clients may escape any byte they like."""
        if b"%" in path:
            path = unquote_to_bytes(path)
        node = self.root
        found = [node] if node.candidates else []
        # No deeper than the claims go: the request's author chooses the number of slashes.
        for segment in path.lstrip(b"/").split(b"/", self.depth):
            below = node.children.get(segment)
            if below is None:
                break
            node = below
            if node.candidates:
                found.append(node)
        return found

    def pick(self, path: bytes, headers: Headers) -> Route | None:
        if self.whole is not None:
            return self.whole
        nodes = self.nodes(path)
        while nodes:
            node = nodes.pop()
            route = node.pick(headers) if node.by_header else node.plain
            if route is not None:
                return route
        return None


class Index:
    """Claims, each of which has one owner, arranged for look-up. Never changed once it is built."""

    __slots__ = ("_any", "_exact", "_longest", "_wild", "whole")

    def __init__(self, owned: Iterable[tuple[Claim, Route]]) -> None:
        patterns: dict[str, _Host] = {}
        for claim, route in owned:
            host = patterns.get(claim.host)
            if host is None:
                host = patterns[claim.host] = _Host(claim.host)
            host.add(claim, route)
        for host in patterns.values():
            host.seal()
        self._any: _Host | None = patterns.pop(ANY_HOST, None)
        self._wild = {name[2:].encode(): host for name, host in patterns.items() if name.startswith("*.")}
        self._exact = {name.encode(): host for name, host in patterns.items() if not name.startswith("*.")}
        self._longest = max(map(len, self._wild), default=0)
        self.whole: dict[bytes, Route] = {name: h.whole for name, h in self._exact.items() if h.whole is not None}
        """Exact hosts that belong to one route with every path: most requests need no more than this."""

    def search(self, host: bytes, path: bytes, headers: Headers) -> Route | None:
        exact = self._exact.get(host)
        if exact is None:
            host = normal_host(host)
            exact = self._exact.get(host)
        if exact is not None:
            route = exact.pick(path, headers)
            if route is not None:
                return route
        return self._search_patterns(host, path, headers)

    def _search_patterns(self, host: bytes, path: bytes, headers: Headers) -> Route | None:
        if self._wild:
            for wild in self._wildcards(host):
                route = wild.pick(path, headers)
                if route is not None:
                    return route
        return None if self._any is None else self._any.pick(path, headers)

    def hosts(self, host: bytes) -> Iterator[_Host]:
        """The patterns that a host in normal form falls under, the most specific first."""
        exact = self._exact.get(host)
        if exact is not None:
            yield exact
        yield from self._wildcards(host)
        if self._any is not None:
            yield self._any

    def _wildcards(self, host: bytes) -> Iterator[_Host]:
        # No suffix longer than the longest claimed is cut out: the request's author chooses the number of dots.
        dot = host.find(b".", max(0, len(host) - self._longest - 1))
        while dot >= 0:
            found = self._wild.get(host[dot + 1 :])
            if found is not None:
                yield found
            dot = host.find(b".", dot + 1)


class Explanation(msgspec.Struct, frozen=True):
    """Which route a request finds and, step by step, why. Names of headers are told, never what a request has in them."""

    route: Route | None
    steps: tuple[str, ...]


def explain(table: RoutingTable, host: bytes, path: bytes, headers: Headers) -> Explanation:
    """Walk through a table as `RoutingTable.match` does, and take notes."""
    name = normal_host(host)
    steps = [f"host {_text(name)}, path {_text(path)}"]
    for candidate in table.index.hosts(name):
        route = _explain_host(candidate, path, headers, steps)
        if route is not None:
            return Explanation(route, tuple(steps))
    steps.append("no host pattern is left: no route")
    return Explanation(None, tuple(steps))


def _explain_host(host: _Host, path: bytes, headers: Headers, steps: list[str]) -> Route | None:
    nodes = host.nodes(path)
    prefixes = ", ".join(node.candidates[0].claim.path for node in reversed(nodes))
    steps.append(f"host {host.pattern}: " + (f"path prefixes that fit: {prefixes}" if nodes else "no path prefix fits"))
    for node in reversed(nodes):
        for candidate in node.candidates:
            app = candidate.route.app
            missing = _missing(candidate, headers)
            if missing is None:
                steps.append(f"{candidate.claim}: taken by {app}")
                return candidate.route
            steps.append(f"{candidate.claim}: not {app}, {missing}")
    return None


def _missing(candidate: _Candidate, headers: Headers) -> str | None:
    for wanted, (name, value) in zip(candidate.claim.headers, candidate.wanted, strict=True):
        if not _carries(headers, name, value):
            return _reason(wanted, present=_carries(headers, name, None))
    return None


def _reason(wanted: HeaderMatch, *, present: bool) -> str:
    return f"header {wanted.name} has another value" if present else f"header {wanted.name} is missing"


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace") or '""'
