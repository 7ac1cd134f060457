"""What a route claims, in the normal form in which requests and routes are compared. Pure; knows no index and no table."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

import msgspec

from fleet.routing.route import HeaderMatch, Rule

__all__ = ["ANY_HOST", "Claim", "claims_of", "normal_host", "normal_path", "path_segments"]

ANY_HOST = "*"

_IPV6_MAX = 64  # longer than any textual IPv6 address with its zone: not worth parsing


class Claim(msgspec.Struct, frozen=True):
    """One host, path prefix and method, and the headers that a request must have, normalised: equal claims are the same claim."""

    host: str
    """Lower case, without port and trailing dot; "*.suffix" or "*"; IPv6 compressed and without brackets."""
    path: str
    """Starts with "/", and does not end with one unless it is the root."""
    headers: tuple[HeaderMatch, ...] = ()
    """Names in lower case, without duplicates, sorted."""
    method: str = ""
    """"" is any."""

    def __str__(self) -> str:
        wanted = "".join(f" [{h.name}]" if h.value is None else f" [{h.name}: {h.value}]" for h in self.headers)
        return f"{self.method} {self.host}{self.path}{wanted}".lstrip(" ")


def normal_host(host: bytes) -> bytes:
    """The Host of a request as claims write it. What is no host at all comes back as something that no claim can be."""
    host = host.lower()
    colon = host.find(b":")
    if colon >= 0:
        if host[:1] == b"[" or host.find(b":", colon + 1) >= 0:
            return _normal_ipv6(host)
        host = host[:colon]
    return host.removesuffix(b".")


def _normal_ipv6(host: bytes) -> bytes:
    literal = host[1 : host.find(b"]")] if host[:1] == b"[" and b"]" in host else host
    if len(literal) > _IPV6_MAX:
        return host
    try:
        return ipaddress.IPv6Address(literal.decode("ascii")).compressed.encode()
    except ValueError:
        # Brackets stay: "[example.com]:80" must not pass for example.com.
        return host


def normal_path(prefix: str) -> str:
    """A path prefix as claims write it. Slashes at its ends say nothing: "/api/" takes what "/api" takes."""
    return "/" + prefix.strip("/")


def path_segments(prefix: str) -> list[bytes]:
    """The segments of a normal path prefix; none for the root."""
    return [] if prefix == "/" else prefix[1:].encode().split(b"/")


def claims_of(rules: Iterable[Rule]) -> Iterator[Claim]:
    """Every claim of valid rules, in their order, each once."""
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
