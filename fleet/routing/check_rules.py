"""Whether rules, and the places that they lead to, are fit for a table. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from fleet.routing.claims import normal_host
from fleet.routing.faults import Fail, check_name, check_path, check_sendable, check_token, is_name
from fleet.routing.route import HeaderMatch, Rule, Target

__all__ = ["MAX_CLAIMS", "MAX_HEADERS", "check_host", "check_method", "check_rules", "check_target", "claims"]

MAX_CLAIMS = 10_000
"""Hosts times paths times methods, summed over the rules of one route: a small object must not become a table of millions."""
MAX_HEADERS = 100
"""Headers in one rule. Interceptors take about as many in a whole request, so more could never match."""

_HOST_BYTES = 253  # RFC 1035 section 2.3.4, in text form
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # RFC 1123 section 2.1, and the underscore that is in use
_HOST = re.compile(rf"(?:\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\.?)(?::\d{{1,5}})?", re.ASCII | re.IGNORECASE)
_IPV6 = re.compile(r"\[([0-9a-f:.]+)\](?::\d{1,5})?|([0-9a-f:.]+)", re.ASCII | re.IGNORECASE)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


def check_target(target: Target, field: str, fail: Fail) -> None:
    check_name(target.service, f"{field}.service", fail)
    port = target.port
    if isinstance(port, int) and not 1 <= port <= 65535:
        raise fail(f"{field}.port", f"{port} is not between 1 and 65535")
    if isinstance(port, str) and not is_name(port):
        raise fail(f"{field}.port", f"{port!r} is not the name of a port")


def check_rules(rules: Sequence[Rule], field: str, fail: Fail) -> None:
    for position, rule in enumerate(rules):
        _check_rule(rule, f"{field}[{position}]", fail)
    number = claims(rules)
    if number > MAX_CLAIMS:
        raise fail(field, f"{number} combinations of host, path and method, at most {MAX_CLAIMS} are possible")


def claims(rules: Sequence[Rule]) -> int:
    """Combinations of host, path and method."""
    return sum(max(1, len(rule.hosts)) * max(1, len(rule.paths)) * max(1, len(rule.methods)) for rule in rules)


def _check_rule(rule: Rule, field: str, fail: Fail) -> None:
    for position, host in enumerate(rule.hosts):
        check_host(host, f"{field}.hosts[{position}]", fail)
    for position, path in enumerate(rule.paths):
        check_path(path, f"{field}.paths[{position}]", fail)
    if len(rule.headers) > MAX_HEADERS:
        raise fail(f"{field}.headers", f"{len(rule.headers)} headers, at most {MAX_HEADERS} are possible")
    for position, method in enumerate(rule.methods):
        check_method(method, f"{field}.methods[{position}]", fail)
    for position, header in enumerate(rule.headers):
        _check_header(header, f"{field}.headers[{position}]", fail)


def check_host(host: str, field: str, fail: Fail) -> None:
    if not host.isascii():
        raise fail(field, f"{host!r} is not ASCII; write the form with xn-- that clients send")
    fits = len(normal_host(host.encode())) <= _HOST_BYTES and (_HOST.fullmatch(host) or _is_ipv6(host))
    if not fits:
        raise fail(field, f'{host!r} is not a host, a wildcard such as "*.example.com", or "*"')


def _is_ipv6(host: str) -> bool:
    literal = _IPV6.fullmatch(host)
    try:
        return literal is not None and bool(ipaddress.IPv6Address(literal[1] or literal[2]))
    except ValueError:
        return False


def check_method(method: str, field: str, fail: Fail) -> None:
    check_token(method, field, fail, what="a method")
    if method != method.upper() and method.upper() in _METHODS:
        # RFC 9110 section 9.1: the case of methods counts.
        raise fail(field, f"{method!r} is another method than {method.upper()!r}")


def _check_header(header: HeaderMatch, field: str, fail: Fail) -> None:
    check_token(header.name, f"{field}.name", fail)
    if header.value is not None:
        check_sendable(header.value, f"{field}.value", fail, what="request")
