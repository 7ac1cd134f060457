"""What a route claims: hosts, paths, headers and methods in normal form, in which claims and requests are compared. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from fleet.routing.host import normal_host
from fleet.routing.route import HeaderMatch, Rule

__all__ = ["ANY_HOST", "Claim", "claims_of", "normal_path", "path_segments"]

ANY_HOST: Final = "*"


class Claim(msgspec.Struct, frozen=True):
    """One host, path prefix and method, and required headers, normalised: equal values are the same claim."""

    host: str
    """Lower case, without port and trailing dot; "*.suffix" or "*"; IPv6 compressed and without brackets."""
    path: str
    """Starts with "/", and does not end with "/" unless it is the root."""
    headers: tuple[HeaderMatch, ...] = ()
    """Names in lower case, without duplicates, sorted."""
    method: str = ""
    """An empty text means any method."""

    def __str__(self) -> str:
        wanted = "".join(f" [{h.name}]" if h.value is None else f" [{h.name}: {h.value}]" for h in self.headers)
        return f"{self.method} {self.host}{self.path}{wanted}".lstrip(" ")


def normal_path(prefix: str) -> str:
    """A path prefix in normal form. Slashes at its ends have no meaning: "/api/" matches the same paths as "/api"."""
    return "/" + prefix.strip("/")


def path_segments(prefix: str) -> list[bytes]:
    """The segments of a normal path prefix; none for the root."""
    return [] if prefix == "/" else prefix[1:].encode().split(b"/")


def claims_of(rules: Iterable[Rule]) -> Iterator[Claim]:
    """Every claim of valid rules, in order, without duplicates."""
    seen: set[Claim] = set()
    for rule in rules:
        for claim in _claims_of_rule(rule):
            if claim not in seen:
                seen.add(claim)
                yield claim


def _claims_of_rule(rule: Rule) -> Iterator[Claim]:
    hosts = [normal_host(host.encode()).decode() for host in rule.hosts] or [ANY_HOST]
    paths = [normal_path(path) for path in rule.paths] or ["/"]
    headers = _normal_headers(rule.headers)
    methods = rule.methods or ("",)
    for host in hosts:
        for path in paths:
            for method in methods:
                yield Claim(host, path, headers, method)


def _normal_headers(headers: tuple[HeaderMatch, ...]) -> tuple[HeaderMatch, ...]:
    if not headers:
        return ()
    distinct = {HeaderMatch(header.name.lower(), header.value) for header in headers}
    return tuple(sorted(distinct, key=lambda header: (header.name, header.value is not None, header.value or "")))
