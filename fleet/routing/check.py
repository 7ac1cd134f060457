"""Whether a route is fit for a table. Pure; says what is wrong with one route, knows nothing of others.

What one value may be is declared beside its field, in fleet/routing/route.py. Here is what is asked of several together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from fleet.routing.check_answers import check_response, check_size
from fleet.routing.cors import Cors, check_cors
from fleet.routing.declare import Check, Declared, declared
from fleet.routing.depends import check_dependencies
from fleet.routing.faults import Fail, RouteError
from fleet.routing.host import normal_host
from fleet.routing.outside import split_place
from fleet.routing.port import ListenPort, check_port, check_ports
from fleet.routing.previews import Previews, check_copies, check_previews
from fleet.routing.redirect import needs_host
from fleet.routing.route import (
    Affinity,
    ColdStart,
    HeaderChanges,
    RateTarget,
    Redirect,
    Route,
    Rule,
    StaticResponse,
    StaticRoute,
    Target,
    WeightedTarget,
)
from fleet.routing.rules import TREATMENT
from fleet.routing.target import TargetTls, check_tls

__all__ = ["MAX_BUCKETS", "MAX_CLAIMS", "RouteError", "check_part", "check_route"]

MAX_CLAIMS: Final = 10_000
"""Hosts times paths times methods, summed over the rules of one route: a small object must not become a table of millions."""
MAX_BUCKETS: Final = 100_000
"""Window divided by granularity: what a scaler keeps in memory for one application. A day in seconds fits."""


def check_route(route: Route) -> None:
    """Raise RouteError for the first thing that is wrong with a route."""

    def fail(field: str, reason: str) -> RouteError:
        return RouteError(route.app, field, reason)

    check_part(route, "", fail)


def check_part(part: msgspec.Struct, at: str, fail: Fail) -> None:
    """Each field of a part of a route, then what the part asks of several. `at` is the field that holds it, "" for a route."""
    for name, default, check, nested, many in _steps(type(part)):
        value = getattr(part, name)
        # What stands in no document is the default itself, and good.
        if value is None or value is default:
            continue
        where = f"{at}.{name}" if at else name
        if many is not None:
            _check_many(value, many, where, fail)
            continue
        if check is not None:
            check(value, where, fail)
        if nested:
            check_part(value, where, fail)
    together = _TOGETHER.get(type(part))
    if together is not None:
        together(part, at, fail)


@cache
def _steps(struct: type[msgspec.Struct]) -> tuple[tuple[str, Any, Check | None, bool, Declared | None], ...]:
    """For each field: name, default, check, whether it is a struct, and the field itself if it has many values. Cached, because
    tables have 10,000 routes."""
    return tuple(
        (field.name, field.default, _check_of(field), field.part is not None, field if field.many else None)
        for field in declared(struct).values()
        if field.field.kind is not None or field.part is not None or field.field.most is not None
    )


def _check_of(field: Declared) -> Check | None:
    return None if field.field.kind is None else field.field.kind.check


def _check_many(values: Sequence[Any], field: Declared, at: str, fail: Fail) -> None:
    most, check = field.field.most, _check_of(field)
    if most is not None and len(values) > most:
        raise fail(at, f"{len(values)} {field.field.called}, at most {most} are possible")
    for position, value in enumerate(values):
        where = f"{at}[{position}]"
        if check is not None:
            check(value, where, fail)
        if field.part is not None:
            check_part(value, where, fail)


def _check_whole(route: Route, _: str, fail: Fail) -> None:
    _check_claims(route, "", fail)
    if sum(_claims(static.rules) for static in route.static_routes) > MAX_CLAIMS:
        raise fail("static_routes", f"more than {MAX_CLAIMS} combinations of host, path and method")
    fallback = route.cold_start.fallback
    if fallback is not None and fallback.key == route.target.key:
        raise fail("cold_start.fallback", "is the target itself")
    check_ports(route.ports, fail)
    if route.previews is not None:
        check_copies(route.app, route.previews, fail)
        _check_cookies(route.previews, route.affinity, fail)
    check_dependencies(route.app, route.depends_on, fail)
    check_size(route, fail)


def _check_cookies(previews: Previews, affinity: Affinity | None, fail: Fail) -> None:
    """Each answer with a session would overwrite the name of the preview. The same header for both is harmless: nobody sets it
    but the client, and requests of a preview are then one session."""
    if previews.cookie is not None and affinity is not None and previews.cookie == affinity.cookie:
        raise fail("previews.cookie", f"{previews.cookie} is the cookie of affinity as well: take another name for one of them")


def _check_static(static: StaticRoute, at: str, fail: Fail) -> None:
    _check_claims(static, at, fail)
    for position, rule in enumerate(static.rules):
        for field in TREATMENT:
            if getattr(rule, field):
                raise fail(f"{at}.rules[{position}].{field}", "is for requests that go to a backend")


def _check_claims(owner: Route | StaticRoute, at: str, fail: Fail) -> None:
    number = _claims(owner.rules)
    if number > MAX_CLAIMS:
        field = f"{at}.rules" if at else "rules"
        raise fail(field, f"{number} combinations of host, path and method, at most {MAX_CLAIMS} are possible")


def _claims(rules: Sequence[Rule]) -> int:
    """Combinations of host, path and method."""
    return sum(max(1, len(rule.hosts)) * max(1, len(rule.paths)) * max(1, len(rule.methods)) for rule in rules)


def _check_rule(rule: Rule, at: str, fail: Fail) -> None:
    _check_backends(rule, at, fail)
    if rule.redirect is None:
        return
    for field in TREATMENT:
        if field != "redirect" and getattr(rule, field):
            raise fail(f"{at}.{field}", "is for requests that go to a backend, and those of this rule are redirected")
    if needs_host(rule.redirect) and (not rule.hosts or any(normal_host(host.encode()) == b"*" for host in rule.hosts)):
        raise fail(f"{at}.redirect.host", "is needed: the rule is for any host, so that the client would say where this leads")
    if _leads_back(rule, rule.redirect):
        raise fail(f"{at}.redirect.prefix", "is what the rule matches: it would lead back to itself, for ever")


def _leads_back(rule: Rule, redirect: Redirect) -> bool:
    """Whether a redirect, whatever other rules there are, is to what was requested."""
    if redirect.prefix is None or redirect != Redirect(prefix=redirect.prefix, status=redirect.status):
        return False
    return redirect.prefix.rstrip("/") in {path.rstrip("/") for path in rule.paths or ("/",)}


def _check_redirect(redirect: Redirect, at: str, fail: Fail) -> None:
    if redirect.path is not None and redirect.prefix is not None:
        raise fail(f"{at}.prefix", "there is a path as well")
    if redirect == Redirect(status=redirect.status):
        raise fail(at, "leads nowhere else: it needs a scheme, host, port, path or prefix")


def _check_changes(changes: HeaderChanges, at: str, fail: Fail) -> None:
    seen: set[str] = set()
    named = [(f"{at}.{field}", name) for field in ("set", "add") for name, _ in getattr(changes, field)]
    for where, name in (*named, *((f"{at}.remove", name) for name in changes.remove)):
        plain = name.lower().replace("_", "-")
        if plain in seen:
            raise fail(where, f"{name} is there twice")
        seen.add(plain)


def _check_backends(rule: Rule, at: str, fail: Fail) -> None:
    seen: dict[str, WeightedTarget] = {}
    for position, backend in enumerate(rule.backends):
        if (other := seen.get(backend.key)) is not None:
            # Sessions, waiting requests and the page /backends tell the backends of a rule apart by where they are.
            why = "" if other.connects == backend.connects else ": a rule speaks to a backend in one way, take two ports for two"
            raise fail(f"{at}.backends[{position}]", f"{backend.key} is there twice{why}")
        seen[backend.key] = backend
    if rule.backends and not any(backend.weight for backend in rule.backends):
        raise fail(f"{at}.backends", "every weight is 0")


def _check_target(target: Target, at: str, fail: Fail) -> None:
    said = [name for name in ("service", "host", "addresses") if getattr(target, name)]
    if len(said) != 1:
        both = f"there is {' and '.join(said)}, and one of them is possible" if said else "is empty"
        raise fail(f"{at}.{said[1]}" if said else f"{at}.service", f"{both}: a service, a host or addresses")
    if target.service:
        return
    if target.direct is not None:
        raise fail(f"{at}.direct", "is for a Service")
    if isinstance(target.port, str):
        raise fail(f"{at}.port", f"{target.port!r} is the name of a Service's port; here it has to be a number")
    if target.port is None and (target.host is not None or any(split_place(one)[1] is None for one in target.addresses)):
        raise fail(f"{at}.port", "is missing")
    if (
        target.addresses
        and target.connects.spoken(None).tls
        and not (target.tls and (target.tls.server_name or target.tls.insecure_skip_verify))
    ):
        raise fail(f"{at}.tls.server_name", "is missing: addresses have no name that a certificate could have")


def _check_rate(rate: RateTarget, at: str, fail: Fail) -> None:
    field = f"{at}.granularity"
    if rate.granularity > rate.window:
        raise fail(field, f"{rate.granularity} s is more than the window of {rate.window} s")
    if rate.window > rate.granularity * MAX_BUCKETS:
        raise fail(field, f"{rate.granularity} s splits a window of {rate.window} s into more than {MAX_BUCKETS} parts")


def _check_cold_start(cold: ColdStart, at: str, fail: Fail) -> None:
    if cold.overflow_placeholder and cold.placeholder is None:
        raise fail(f"{at}.overflow_placeholder", "there is no placeholder")


def _check_affinity(affinity: Affinity, at: str, fail: Fail) -> None:
    if (affinity.cookie is None) == (affinity.header is None):
        raise fail(at, "is either by a cookie or by a header")
    if affinity.max_age is not None and affinity.cookie is None:
        raise fail(f"{at}.max_age", "is of a cookie, and there is none")


_TOGETHER: Final[Mapping[type[msgspec.Struct], Callable[[Any, str, Fail], None]]] = {
    Target: _check_target,
    WeightedTarget: _check_target,
    Route: _check_whole,
    Rule: _check_rule,
    HeaderChanges: _check_changes,
    Redirect: _check_redirect,
    RateTarget: _check_rate,
    StaticRoute: _check_static,
    StaticResponse: check_response,
    ColdStart: _check_cold_start,
    Affinity: _check_affinity,
    Cors: check_cors,
    TargetTls: check_tls,
    ListenPort: check_port,
    Previews: check_previews,
}
