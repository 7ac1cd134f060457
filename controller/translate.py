"""From the spec of a custom resource to the route that it asks for. Pure; knows one object at a time.

Meanings are those of the KEDA HTTP add-on. Errors name the field as the object's author wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from controller.answers import (
    MAINTENANCE,
    Reference,
    cold_start_of,
    header_matches,
    maintenance_of,
    paths_of,
    references_of,
    static_routes_of,
)
from controller.authorities import FALLBACK, TARGET, AuthorityReference, authorities_of, check_authorities
from controller.cors import cors_of
from controller.depends import depends_on
from controller.limits import Notes, duration, http_timeouts, note_for_keda, note_patterns, route_timeouts, scaling_of
from controller.ports import AskedPort, fixed_ports, ports_of, sample_ports
from controller.previews import check_preview_name, previews_of
from controller.problem import Problem
from controller.rules import RuleMaker
from controller.schedules import note_maximum, schedules_of
from controller.schema.answers import Affinity as AffinitySpec
from controller.schema.answers import Treatment
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.interceptor_route import InterceptorRouteSpec
from controller.schema.rules import Backend, RouteRule
from controller.targets import outside_or_service, target_of
from fleet.routing.check import RouteError, check_route
from fleet.routing.route import Affinity, Protection, Route, Rule, Target
from fleet.schedules.windows import Schedule

__all__ = ["Named", "Translation", "of_http_scaled_object", "of_interceptor_route"]

_Names = Sequence[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]
"""What a route calls its fields, and what an object does."""
_ONE_RULE_FIELDS: _Names = (
    (re.compile(r"^rules\[0\]\.paths"), "pathPrefixes"),
    (re.compile(r"^rules\[0\]\."), ""),
    (re.compile(r"^rules$"), "hosts and pathPrefixes"),
)
_HTTP_FIELDS: _Names = ((re.compile(r"^target\."), "scaleTargetRef."),)
_FAILOVER_FIELDS: _Names = ((re.compile(r"^cold_start\.fallback"), "coldStartTimeoutFailoverRef"),)
_OUTSIDE_FALLBACK: _Names = ((re.compile(r"^cold_start\.fallback"), "coldStart.fallback"),)
_BOTH_FIELDS: _Names = (
    (re.compile(r"(\.paths\[\d+\])$"), r"\1.value"),
    (re.compile(r"^cold_start\.fallback\.service"), "coldStart.fallback.service.name"),
    (re.compile(r"^cold_start\.fallback\.(port|app_protocol|tls)"), r"coldStart.fallback.service.\1"),
    (re.compile(r"^cold_start\.max_held_bytes"), "coldStart.maxPendingBytes"),
    (re.compile(r"^cold_start\.max_held"), "coldStart.maxPendingRequests"),
    (re.compile(r"^cold_start\.overflow_placeholder"), "coldStart.overflow"),
    (re.compile(r"\.response\.status$"), ".response.statusCode"),
    (re.compile(r"\.response\.headers\[\d+\]$"), ".response.headers"),
    (re.compile(r"(_headers\.(?:set|add))\[\d+\]$"), r"\1"),
    (re.compile(r"redirect\.status$"), "redirect.statusCode"),
    (re.compile(r"^protection\."), ""),
    (re.compile(r"^scaling\.concurrency"), "scalingMetric.concurrency.targetValue"),
    (re.compile(r"^scaling\.rate\.target"), "scalingMetric.requestRate.targetValue"),
    (re.compile(r"^scaling\.rate"), "scalingMetric.requestRate"),
    (re.compile(r"^scaling\.activity_period"), "activityPeriod"),
    (re.compile(r"^scaling\.max_busy"), "maxBusy"),
    (re.compile(r"^depends_on(\[\d+\])\.app"), r"dependsOn\1"),
    (re.compile(r"_([a-z])"), lambda match: match[1].upper()),
)


_SERVICES = re.compile(r"^(?:target|cold_start\.fallback|rules\[(\d+)\]\.backends\[(\d+)\])\.service$")
"""Fields of a route that name Services, with the namespace that objects leave out."""


class Named(Protocol):
    """The object that a route is named for."""

    @property
    def name(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def created(self) -> float: ...
    @property
    def annotations(self) -> dict[str, str] | None: ...


class Translation(msgspec.Struct, frozen=True):
    """A route, found valid, the bodies and authorities that it still needs, and what of the object it leaves out."""

    route: Route
    references: tuple[Reference, ...] = ()
    authorities: tuple[AuthorityReference, ...] = ()
    ignored: tuple[Problem, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    ports: tuple[AskedPort, ...] = ()
    """All ports that it asks for; those with a number are in the route as well."""


def of_http_scaled_object(meta: Named, spec: HTTPScaledObjectSpec) -> Translation:
    """Raises Problem."""
    notes = Notes()
    note_for_keda(notes, spec)
    note_patterns(notes, "pathPrefixes", spec.path_prefixes or ())
    _note_paths(notes, spec.rules)
    failover = spec.cold_start_timeout_failover_ref
    cold = cold_start_of(meta.namespace, spec.cold_start)
    if failover is not None:
        cold = msgspec.structs.replace(cold, fallback=target_of(meta.namespace, failover.service, failover))
    rules = RuleMaker(meta.namespace, direct=spec.direct_pod_routing)
    own = Rule(spec.hosts or (), paths_of(spec.path_prefixes or ()), header_matches(spec.headers), spec.methods or ())
    route = Route(
        app=f"{meta.namespace}/{meta.name}",
        target=outside_or_service(meta.namespace, spec.scale_target_ref, direct=spec.direct_pod_routing),
        rules=tuple(rules.rule(rule) for rule in spec.rules) if spec.rules else _one_rule(spec, rules.treated(own, spec)),
        scaling=scaling_of(notes, spec.scaling_metric, spec.activity_period, spec.max_busy, spec.target_pending_requests),
        timeouts=http_timeouts(notes, spec),
        cold_start=cold,
        created=meta.created,
    )
    names = (*(() if spec.rules else _ONE_RULE_FIELDS), *_HTTP_FIELDS, *(_FAILOVER_FIELDS if failover else ()), *_BOTH_FIELDS)
    of_rules = [("", spec.backends)] if not spec.rules else _backends(spec.rules)
    authorities = (
        *authorities_of(meta.namespace, TARGET, "scaleTargetRef", spec.scale_target_ref.tls),
        *(authorities_of(meta.namespace, FALLBACK, "coldStartTimeoutFailoverRef", failover.tls) if failover else ()),
        *_other_authorities(meta, spec, of_rules),
    )
    return _whole(meta, spec, route, notes, names=names, authorities=authorities)


def of_interceptor_route(meta: Named, spec: InterceptorRouteSpec) -> Translation:
    """Raises Problem."""
    notes = Notes()
    _note_paths(notes, spec.rules)
    rules = RuleMaker(meta.namespace, direct=spec.direct_pod_routing)
    route = Route(
        app=f"{meta.namespace}/{meta.name}",
        target=outside_or_service(meta.namespace, spec.target, direct=spec.direct_pod_routing),
        rules=tuple(rules.rule(rule) for rule in spec.rules or ()),
        scaling=scaling_of(notes, spec.scaling_metric, spec.activity_period, spec.max_busy, None),
        timeouts=route_timeouts(notes, spec),
        cold_start=cold_start_of(meta.namespace, spec.cold_start),
        created=meta.created,
    )
    authorities = (
        *authorities_of(meta.namespace, TARGET, "target", spec.target.tls),
        *_other_authorities(meta, spec, _backends(spec.rules)),
    )
    return _whole(meta, spec, route, notes, names=_BOTH_FIELDS, authorities=authorities)


def _one_rule(spec: HTTPScaledObjectSpec, rule: Rule) -> tuple[Rule, ...]:
    """The rule of an object without `rules`. An object that says ports, and nothing of requests, has none: it would get the
    requests of all hosts, as in the add-on objects do that say nothing."""
    return () if spec.ports and rule == Rule() else (rule,)


_Backends = Sequence[tuple[str, Sequence[Backend] | None]]
"""For each rule: where its fields stand, and its backends."""


def _backends(rules: Sequence[RouteRule] | None) -> _Backends:
    return [(f"rules[{number}].", rule.backends) for number, rule in enumerate(rules or ())]


def _other_authorities(meta: Named, spec: Treatment, rules: _Backends) -> Iterator[AuthorityReference]:
    """Those that the backends of rules and the fallback of coldStart need."""
    fallback = None if spec.cold_start is None else spec.cold_start.fallback
    if fallback is not None:
        at, tls = "coldStart.fallback", fallback.tls
        if fallback.service is not None:
            at, tls = f"{at}.service", fallback.service.tls
        yield from authorities_of(meta.namespace, FALLBACK, at, tls)
    for number, (rule, backends) in enumerate(rules):
        for position, backend in enumerate(backends or ()):
            yield from authorities_of(meta.namespace, (number, position), f"{rule}backends[{position}]", backend.tls)


def _note_paths(notes: Notes, rules: Sequence[RouteRule] | None) -> None:
    for number, rule in enumerate(rules or ()):
        note_patterns(notes, f"rules[{number}].paths", [path.value for path in rule.paths or ()])


def _whole(
    meta: Named, spec: Treatment, route: Route, notes: Notes, *, names: _Names, authorities: tuple[AuthorityReference, ...]
) -> Translation:
    """With the fields that both kinds of objects have."""
    if spec.preview_of is not None:
        check_preview_name(spec.preview_of.name)
        return _copy(spec, route, notes, names)
    maintenance, page = maintenance_of(meta)
    fallback = route.cold_start.fallback
    if fallback is not None and fallback.service:
        fallback = msgspec.structs.replace(fallback, direct=spec.direct_pod_routing)
        route = msgspec.structs.replace(route, cold_start=msgspec.structs.replace(route.cold_start, fallback=fallback))
    asked = ports_of(spec.ports)
    route = msgspec.structs.replace(
        route,
        static_routes=static_routes_of(spec.static_routes),
        maintenance=maintenance,
        affinity=None if spec.affinity is None else _affinity(spec.affinity),
        cors=cors_of(spec.cors),
        protection=Protection(spec.backend_concurrency, spec.max_requests, spec.readiness_path),
        server_timing=spec.server_timing,
        answer_half_closed=spec.answer_half_closed,
        ports=sample_ports(asked),
        previews=previews_of(spec.previews),
        depends_on=depends_on(meta.namespace, spec.depends_on),
    )
    _check(route, (*(_OUTSIDE_FALLBACK if fallback is not None and not fallback.service else ()), *names))
    route = msgspec.structs.replace(route, ports=fixed_ports(asked))
    schedules = schedules_of(spec.schedule)
    if isinstance(spec, HTTPScaledObjectSpec) and spec.replicas is not None:
        note_maximum(notes, schedules, spec.replicas.max)
    references = (*references_of(meta.namespace, spec.cold_start, spec.static_routes), *page)
    return Translation(route, references, authorities, tuple(notes.ignored), schedules, asked)


_OF_THE_BASE = (
    *("hosts", "path_prefixes", "headers", "methods", "rewrite", "request_headers", "response_headers", "redirect", "backends"),
    *("rules", "cold_start", "cold_start_timeout_failover_ref", "static_routes", "timeouts", "affinity", "cors", "previews"),
    *("depends_on",),
    *("backend_concurrency", "max_requests", "readiness_path", "server_timing", "answer_half_closed", "ports"),
)
"""What a preview has from its base."""


def _copy(spec: Treatment, route: Route, notes: Notes, names: _Names) -> Translation:
    """Of a preview: its own target and scaling."""
    given = msgspec.to_builtins(spec)
    for field in _OF_THE_BASE:
        if getattr(spec, field, None):
            notes.ignore(next(name for name in given if _plain(name) == _plain(field)), "is that of the base (previewOf)")
    target = msgspec.structs.replace(route.target, app_protocol=None, tls=None)
    if target != route.target:
        notes.ignore("scaleTargetRef" if "scaleTargetRef" in given else "target", "appProtocol and tls are those of the base")
    copy = Route(route.app, target, scaling=route.scaling, created=route.created)
    _check(copy, names)
    schedules = schedules_of(spec.schedule)
    if isinstance(spec, HTTPScaledObjectSpec) and spec.replicas is not None:
        note_maximum(notes, schedules, spec.replicas.max)
    return Translation(copy, ignored=tuple(notes.ignored), schedules=schedules)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _affinity(given: AffinitySpec) -> Affinity:
    return Affinity(given.cookie, given.header, duration("affinity.maxAge", given.max_age))


def _check(route: Route, names: _Names) -> None:
    try:
        check_route(route)
        check_authorities(route)
    except RouteError as error:
        field = error.field
        if field.startswith("maintenance"):
            raise Problem(f"metadata.annotations[{MAINTENANCE}]", error.reason) from error
        reason = error.reason if (service := _SERVICES.match(field)) is None else _no_service(route, service)
        for pattern, name in names:
            field = pattern.sub(name, field)
        raise Problem(f"spec.{field}", reason) from error


def _no_service(route: Route, field: re.Match[str]) -> str:
    target: Target | None = route.target if field[0] == "target.service" else route.cold_start.fallback
    if field[1] is not None:
        target = route.rules[int(field[1])].backends[int(field[2])]
    name = "" if target is None else target.service.removeprefix(f"{route.app.partition('/')[0]}/")
    return f"{name[:100]!r} is no name of a Service; it would be in the namespace of this object"
