"""A reference matcher that checks every route: slow, and written from the documented rules only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fleet.routing.route import HeaderMatch, Route

__all__ = ["conflict_key", "naive_match"]

_Rank = tuple[tuple[int, int], int, bool, int, int, float, str]


def naive_match(
    routes: Iterable[Route], host: str, path: str, headers: Sequence[tuple[str, str]], method: str = "GET"
) -> str | None:
    """The application that gets a request. host has no port and no trailing dot; path is decoded."""
    ranks = [rank for route in routes for rank in _ranks(route, host.lower(), path, headers, method)]
    return min(ranks)[-1] if ranks else None


def _ranks(route: Route, host: str, path: str, headers: Sequence[tuple[str, str]], method: str) -> Iterator[_Rank]:
    """The rank of each claim of a route that matches; the smallest rank wins."""
    for rule in route.rules:
        wanted = {(header.name.lower(), header.value) for header in rule.headers}
        if rule.methods and method not in rule.methods:
            continue
        if not all(_has(headers, name, value) for name, value in wanted):
            continue
        values = sum(value is not None for _, value in wanted)
        for pattern in rule.hosts or ("*",):
            for prefix in rule.paths or ("/",):
                host_rank, length = _host_rank(pattern, host), _path_length(prefix, path)
                if host_rank is not None and length is not None:
                    yield (host_rank, -length, not rule.methods, -len(wanted), -values, route.created, route.app)


def _host_rank(pattern: str, host: str) -> tuple[int, int] | None:
    """Exact, then the longest wildcard, then any."""
    pattern = pattern.lower().split(":")[0].removesuffix(".")
    if pattern == "*":
        return (2, 0)
    if pattern.startswith("*."):
        return (1, -len(pattern)) if host.endswith(pattern[1:]) else None
    return (0, 0) if host == pattern else None


def _path_length(prefix: str, path: str) -> int | None:
    """Length of a prefix that ends at a segment of the path. Slashes at both ends of a path are ignored."""
    prefix, path = prefix.strip("/"), path.strip("/")
    fits = not prefix or path == prefix or path.startswith(prefix + "/")
    return len(prefix) if fits else None


def _has(headers: Sequence[tuple[str, str]], name: str, value: str | None) -> bool:
    return any(has == name and value in (None, sent) for has, sent in headers)


Key = tuple[str, str, frozenset[tuple[str, str | None]], str]


def conflict_key(host: str, path: str, headers: tuple[HeaderMatch, ...], method: str) -> Key:
    """The key by which two claims are equal."""
    wanted = frozenset((header.name.lower(), header.value) for header in headers)
    return (host.lower().split(":")[0].removesuffix("."), path.strip("/"), wanted, method)
