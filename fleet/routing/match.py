"""Finds the owner of a request among claims. Pure. Which claims are valid is checked elsewhere.

Owners are routes, or the static routes of one route.

Order of preference: exact host, longest wildcard, "*"; then the longest path prefix on segment boundaries; then a claim with a
method; then most headers, most header values; then age and name of the route. When no claim of a more specific host or path fits,
the next less specific one is tried. Cost: one lookup per label of the host, per segment of the path and per header of the
request, independent of the number of routes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

from fleet.routing.claims import ANY_HOST, Claim, path_segments
from fleet.routing.host import normal_host

__all__ = ["METHOD", "Candidate", "Headers", "HostPattern", "Index", "Owner", "carries"]

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values without surrounding space, in the order of the request; and METHOD with the request's method."""

METHOD: Final = b":method"
"""Pseudo-header with the method (as in RFC 9113 section 8.3.1), so that methods are matched like headers. No real header can
have this name."""


class Owner(Protocol):
    """The owner of claims. Among equally good claims, the oldest owner (`created`) wins, then the first by name."""

    @property
    def app(self) -> str: ...
    @property
    def created(self) -> float: ...


T = TypeVar("T", bound=Owner)


class Candidate(Generic[T]):
    """A claim and its owner, with the headers in the form that requests have."""

    __slots__ = ("claim", "others", "owner", "rank", "wanted")

    def __init__(self, claim: Claim, owner: T) -> None:
        self.claim = claim
        self.owner = owner
        self.rank = 0
        method = ((METHOD, claim.method.encode()),) if claim.method else ()
        headers = tuple((h.name.encode(), None if h.value is None else h.value.encode()) for h in claim.headers)
        self.wanted: tuple[tuple[bytes, bytes | None], ...] = (*method, *headers)
        self.others = self.wanted
        """Required headers other than the one under which the candidate is indexed."""

    def is_met(self, headers: Headers) -> bool:
        """Whether a request has the method and all required headers."""
        return not self.wanted or all(carries(headers, name, value) for name, value in self.wanted)


def carries(headers: Headers, name: bytes, value: bytes | None) -> bool:
    if value is not None:
        return (name, value) in headers
    return any(pair[0] == name for pair in headers)


def _preference(candidate: Candidate[T]) -> tuple[bool, int, int, float, str]:
    headers, owner = candidate.claim.headers, candidate.owner
    values = sum(1 for header in headers if header.value is not None)
    return (not candidate.claim.method, -len(headers), -values, owner.created, owner.app)


class _Node(Generic[T]):
    """One path prefix of one host: the candidates that claim it, and the child segments."""

    __slots__ = ("by_header", "candidates", "children", "plain")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[T]] = {}
        self.candidates: list[Candidate[T]] = []
        self.plain: T | None = None
        self.by_header: dict[bytes, dict[bytes | None, list[Candidate[T]]]] = {}

    def seal(self) -> None:
        """Sort the candidates, and index each one that requires headers under its rarest required header."""
        if len(self.candidates) == 1 and not self.candidates[0].wanted:
            self.plain = self.candidates[0].owner  # nearly all nodes have a single claim without headers
            return
        self.candidates.sort(key=_preference)
        shared = Counter(want for candidate in self.candidates for want in candidate.wanted)
        for rank, candidate in enumerate(self.candidates):
            candidate.rank = rank
            if not candidate.wanted:
                self.plain = candidate.owner
                continue
            filed = min(candidate.wanted, key=lambda want: (shared[want], want[1] is None))
            candidate.others = tuple(want for want in candidate.wanted if want != filed)
            name, value = filed
            self.by_header.setdefault(name, {}).setdefault(value, []).append(candidate)

    def pick(self, headers: Headers) -> T | None:
        best: Candidate[T] | None = None
        present: set[bytes] = set()
        # Without duplicates, because each lookup of candidates scans all headers, and the client chooses how often one is
        # repeated.
        for name, value in dict.fromkeys(headers):
            filed = self.by_header.get(name)
            if filed is None:
                continue
            best = _better(best, filed.get(value, ()), headers)
            if name not in present:
                present.add(name)
                best = _better(best, filed.get(None, ()), headers)
        return self.plain if best is None else best.owner


def _better(best: Candidate[T] | None, filed: Iterable[Candidate[T]], headers: Headers) -> Candidate[T] | None:
    for candidate in filed:
        if best is not None and candidate.rank >= best.rank:
            break
        if all(carries(headers, name, value) for name, value in candidate.others):
            return candidate
    return best


class HostPattern(Generic[T]):
    """The path prefixes of one host pattern, as a tree of segments."""

    __slots__ = ("depth", "pattern", "root", "whole")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.root: _Node[T] = _Node()
        self.depth = 0
        self.whole: T | None = None
        """The owner of all requests to this host, if path and headers do not matter."""

    def add(self, claim: Claim, owner: T) -> None:
        node = self.root
        segments = path_segments(claim.path)
        for segment in segments:
            node = node.children.get(segment) or node.children.setdefault(segment, _Node())
        node.candidates.append(Candidate(claim, owner))
        self.depth = max(self.depth, len(segments))

    def seal(self) -> None:
        todo = [self.root]
        while todo:
            node = todo.pop()
            node.seal()
            todo.extend(node.children.values())
        if not self.root.children and not self.root.by_header:
            self.whole = self.root.plain

    def nodes(self, path: bytes) -> list[_Node[T]]:
        """The nodes on a path, the longest prefix last. Segments are compared percent-decoded, because clients may escape any
        byte."""
        if b"%" in path:
            path = unquote_to_bytes(path)
        node = self.root
        found = [node] if node.candidates else []
        # Split no deeper than the claims: the client chooses the number of slashes.
        for segment in path.lstrip(b"/").split(b"/", self.depth):
            below = node.children.get(segment)
            if below is None:
                break
            node = below
            if node.candidates:
                found.append(node)
        return found

    def pick(self, path: bytes, headers: Headers) -> T | None:
        if self.whole is not None:
            return self.whole
        nodes = self.nodes(path)
        while nodes:
            node = nodes.pop()
            owner = node.pick(headers) if node.by_header else node.plain
            if owner is not None:
                return owner
        return None


class Index(Generic[T]):
    """An index of claims and their owners. Immutable once built."""

    __slots__ = ("_any", "_exact", "_longest", "_wild", "whole")

    def __init__(self, owned: Iterable[tuple[Claim, T]]) -> None:
        patterns: dict[str, HostPattern[T]] = {}
        for claim, owner in owned:
            host = patterns.get(claim.host)
            if host is None:
                host = patterns[claim.host] = HostPattern(claim.host)
            host.add(claim, owner)
        for host in patterns.values():
            host.seal()
        self._any: HostPattern[T] | None = patterns.pop(ANY_HOST, None)
        self._wild = {name[2:].encode(): host for name, host in patterns.items() if name.startswith("*.")}
        self._exact = {name.encode(): host for name, host in patterns.items() if not name.startswith("*.")}
        self._longest = max(map(len, self._wild), default=0)
        self.whole: dict[bytes, T] = {name: h.whole for name, h in self._exact.items() if h.whole is not None}
        """Exact hosts with one owner for every path: most requests need only this lookup."""

    def search(self, host: bytes, path: bytes, headers: Headers) -> T | None:
        """The owner of the best matching claim. host is the value of Host, path the path of the request target."""
        exact = self._exact.get(host)
        if exact is None:
            host = normal_host(host)
            exact = self._exact.get(host)
        if exact is not None:
            owner = exact.pick(path, headers)
            if owner is not None:
                return owner
        return self.wild(host, path, headers) or self.any(path, headers)

    def exact(self, host: bytes, path: bytes, headers: Headers) -> T | None:
        """The owner among the claims of a normalised host itself."""
        exact = self._exact.get(host)
        return None if exact is None else exact.pick(path, headers)

    def wild(self, host: bytes, path: bytes, headers: Headers) -> T | None:
        """The owner among the claims of wildcards that a normalised host fits."""
        if self._wild:
            for wild in self._wildcards(host):
                owner = wild.pick(path, headers)
                if owner is not None:
                    return owner
        return None

    def any(self, path: bytes, headers: Headers) -> T | None:
        """The owner among the claims of any host."""
        return None if self._any is None else self._any.pick(path, headers)

    def candidates(self, host: bytes, path: bytes) -> Iterator[Candidate[T]]:
        """Every claim that matches a normalised host and a path, whatever headers it requires, best first."""
        for pattern in self.hosts(host):
            for node in reversed(pattern.nodes(path)):
                yield from node.candidates

    def hosts(self, host: bytes) -> Iterator[HostPattern[T]]:
        """The patterns that match a normalised host, the most specific first."""
        exact = self._exact.get(host)
        if exact is not None:
            yield exact
        yield from self._wildcards(host)
        if self._any is not None:
            yield self._any

    def _wildcards(self, host: bytes) -> Iterator[HostPattern[T]]:
        # Start at the longest claimed suffix: the client chooses the number of dots.
        dot = host.find(b".", max(0, len(host) - self._longest - 1))
        while dot >= 0:
            found = self._wild.get(host[dot + 1 :])
            if found is not None:
                yield found
            dot = host.find(b".", dot + 1)
