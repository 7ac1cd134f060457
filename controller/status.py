"""The status of an object: its conditions, from facts. Pure.

Each condition is about one thing, with a helpful message. A condition whose meaning has not changed keeps its time and its
message, so that nothing is written without a change of meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS
from controller.finding import Finding
from controller.outside import place_of
from controller.port_status import PortFacts, port_finding
from controller.propagation import Verdict
from controller.resources import Key, Resource
from controller.scaledobject import SKIP
from controller.scaling import PENDING, UNSCALED, ScalingFacts, judged
from controller.schedule_status import found_of
from controller.schema.common import Condition
from controller.schema.http_scaled_object import HTTPScaledObjectSpec, HTTPScaledObjectStatus
from controller.table import Lost
from fleet.routing.protocols import is_known
from fleet.routing.route import Target
from fleet.runtime.terminal import one_line
from fleet.schedules.windows import Minimum

__all__ = [
    "BACKEND_FOUND",
    "BODIES_FOUND",
    "BUSY",
    "CONFLICT",
    "FIELDS_IGNORED",
    "NOT_OBSERVED",
    "PROTOCOL_SPOKEN",
    "REACHABLE",
    "READY",
    "ROUTES_PROPAGATED",
    "SCALED_OBJECT_READY",
    "SCHEDULED",
    "Facts",
    "Ports",
    "is_pending",
    "next_status",
]

READY = "Ready"
ROUTES_PROPAGATED = "RoutesPropagated"
CONFLICT = "Conflict"
BACKEND_FOUND = "BackendFound"
BODIES_FOUND = "BodiesFound"
"""Only for objects whose answers take bodies from ConfigMaps."""
SCALED_OBJECT_READY = "ScaledObjectReady"
FIELDS_IGNORED = "FieldsIgnored"
"""Only for objects with ignored fields. Their requests are routed without them."""
REACHABLE = "Reachable"
"""Whether requests find a backend. Ready is about the configuration; this is about what happens to requests."""
SCHEDULED = "Scheduled"
"""Only for objects with a schedule: whether it asks for replicas now, and until when."""
BUSY = "Busy"
"""Only for objects that permit it: whether a replica keeps the application awake without requests."""
PROTOCOL_SPOKEN = "ProtocolSpoken"
"""Only for objects whose Service declares a protocol that interceptors do not speak."""
PORT_READY = "PortReady"
"""Only for objects with ports: whether all interceptors listen on them for it."""

MAX_NAMED = 5
"""Names in one message; a fleet may have hundreds."""
MAX_MESSAGE = 1024
"""Characters. KEDA's messages may be of any length, and the API server refuses more than 32,768."""

Ports = tuple[tuple[str, int], ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one object and its surroundings. None stands for what is not known yet."""

    problem: str = ""
    """Why it is not in the table, or ""."""
    lost: tuple[Lost, ...] = ()
    shadowed_by: Key | None = None
    verdict: Verdict | None = None
    services_known: bool = False
    ports: Ports | None = None
    """Ports of its Service; None when the Service does not exist."""
    external_name: str = ""
    """externalName of its Service, which then has no pods."""
    external_names: Mapping[str, str] = MappingProxyType({})
    """The same of the Services of its fallback and of its rules, by "namespace/name"."""
    app_protocol: str = ""
    """The appProtocol at its Service's port, "" without one, or if the route says another."""
    reachable: Finding | None = None
    """The finding about requests that waited for a backend."""
    fallback_ports: Ports | None = None
    """Ports of the fallback's Service; None when the Service does not exist."""
    rule_ports: Mapping[str, Ports | None] = MappingProxyType({})
    """Ports of the Services behind its rules, by "namespace/name"; None for a Service that does not exist."""
    missing_bodies: tuple[str, ...] = ()
    """Answers whose bodies are not available, and why."""
    scaling: ScalingFacts = ScalingFacts()
    minimum: Minimum | None = None
    """What its schedules ask for; None without any."""
    more: Mapping[str, Finding] = MappingProxyType({})
    """Findings of other modules, by condition: only those that have a meaning for the object."""
    last_wake: str = ""  # the last one that this controller has seen, in UTC as the status has it
    port_facts: PortFacts = PortFacts()
    """About its ports."""


def next_status(resource: Resource, facts: Facts, now: str) -> HTTPScaledObjectStatus:
    """The status that the object should have; equal to the current one when there is nothing to write.

    `now` is the time in RFC 3339 format, for conditions whose status changes.
    """
    findings: dict[str, Finding] = {
        BACKEND_FOUND: _backend(resource, facts),
        CONFLICT: _conflict(facts),
        ROUTES_PROPAGATED: _propagated(resource, facts),
        SCALED_OBJECT_READY: _scaled_object(resource, facts),
    }
    findings[REACHABLE] = _reachable(resource, facts, findings[BACKEND_FOUND])
    if facts.app_protocol and not is_known(facts.app_protocol):
        findings[PROTOCOL_SPOKEN] = _not_spoken(resource, facts.app_protocol)
    if resource.references or facts.missing_bodies:
        findings[BODIES_FOUND] = _bodies(facts)
    if resource.ports:
        found = port_finding(facts.lost, facts.port_facts, facts.verdict, resource.conditions.get(PORT_READY))
        findings[PORT_READY] = found or _still(resource, PORT_READY, "the interceptors were not heard yet")
    if facts.minimum is not None:
        findings[SCHEDULED] = _scheduled(resource, facts, facts.minimum)
    findings.update(facts.more)
    if resource.ignored:
        findings[FIELDS_IGNORED] = Finding("True", "NoMeaning", _some([str(problem) for problem in resource.ignored]))
    findings = {READY: _ready(resource, facts, findings)} | findings
    before, generation, spec = resource.conditions, resource.meta.generation, resource.spec
    http = spec if isinstance(spec, HTTPScaledObjectSpec) else None
    return HTTPScaledObjectStatus(
        hosts=_hosts(resource),
        scaled_by=_scaled_by(resource, facts),
        target_workload=_workload(http) if http else "",
        target_service=_service(resource),
        observed_generation=generation,
        last_wake_time=max(resource.status.last_wake_time, facts.last_wake),  # times in UTC sort as texts
        conditions=tuple(_settled(kind, found, before.get(kind), generation, now) for kind, found in findings.items()),
        ports=facts.port_facts.places,
    )


def is_pending(status: HTTPScaledObjectStatus) -> bool:
    """Whether the object's readiness is just not known yet."""
    return any((condition.type, condition.reason) == (READY, PENDING) for condition in status.conditions)


def _settled(kind: str, found: Finding, before: Condition | None, generation: int, now: str) -> Condition:
    if before is not None and _says_the_same(kind, found, before, generation):
        return before
    since = before.last_transition_time if before is not None and before.status == found.status else ""
    return Condition(kind, found.status, found.reason, _cut(found.message), generation, since or now)


def _says_the_same(kind: str, found: Finding, before: Condition, generation: int) -> bool:
    if (before.status, before.reason, before.observed_generation) != (found.status, found.reason, generation):
        return False
    # A route that has propagated everywhere keeps its message: interceptors and the table's version change all the time.
    return before.message == _cut(found.message) or (kind == ROUTES_PROPAGATED and found.status == "True")


def _ready(resource: Resource, facts: Facts, findings: Mapping[str, Finding]) -> Finding:
    if facts.problem:
        return Finding("False", "Invalid", facts.problem)
    conflict = findings[CONFLICT]
    if conflict.status == "True":
        return Finding("False", conflict.reason, conflict.message)
    needed = [BACKEND_FOUND, ROUTES_PROPAGATED, *(kind for kind in (BODIES_FOUND, PORT_READY) if kind in findings)]
    if _is_http(resource):
        needed.append(SCALED_OBJECT_READY)
    for kind in needed:
        if findings[kind].status != "True":
            return findings[kind]
    return Finding("True", _manner(resource, findings), "; ".join(_serving(resource, findings)))


def _manner(resource: Resource, findings: Mapping[str, Finding]) -> str:
    """One word for what happens to requests to an object without problems."""
    if resource.route is not None and resource.route.maintenance is not None:
        return "Maintenance"
    scaled = findings[SCALED_OBJECT_READY]
    if scaled.reason == "Paused":
        return "Paused"
    return "NotScaled" if scaled.status == "False" and scaled.reason != UNSCALED else "Serving"


def _serving(resource: Resource, findings: Mapping[str, Finding]) -> Iterable[str]:
    route, scaled = resource.route, findings[SCALED_OBJECT_READY]
    is_scaled = scaled.status == "True" and scaled.reason != "Paused"
    if route is not None and not route.rules and route.ports:
        yield "connections at its ports are routed" + (", and the workload is scaled by them" if is_scaled else "")
    elif route is not None and not route.rules:
        yield "there are no rules, so no request is selected"
    else:
        yield "requests are routed" + (", and the workload is scaled by them" if is_scaled else "")
    if route is not None and route.maintenance is not None:
        yield "in maintenance: every request gets its page, and the workload may sleep"
    if route is not None and any(target.tls is not None and target.tls.insecure_skip_verify for target in route.targets):
        yield "certificates of backends are not verified (insecureSkipVerify)"
    if scaled.reason == "Paused":
        yield scaled.message
    elif scaled.status == "False" and scaled.reason != UNSCALED:
        yield f"nothing scales it: {scaled.message}"


def _backend(resource: Resource, facts: Facts) -> Finding:
    if resource.route is None:
        return Finding("Unknown", "Invalid", facts.problem)
    if not facts.services_known:
        return _still(resource, BACKEND_FOUND, "the Services were not read yet")
    target, fallback = resource.route.target, resource.route.cold_start.fallback
    trouble = _unfound(target, facts.ports, "", facts.external_name)
    if trouble is None and fallback is not None:
        trouble = _unfound(fallback, facts.fallback_ports, "Fallback", facts.external_names.get(fallback.service, ""))
    backends = {backend.key: backend for rule in resource.route.rules for backend in rule.backends}
    named = facts.external_names
    troubles = (
        _unfound(backend, facts.rule_ports.get(backend.service), "Rule", named.get(backend.service, ""))
        for backend in backends.values()
    )
    trouble = trouble or next(filter(None, troubles), None)
    if trouble is not None:
        return trouble
    beside = f", and the fallback {_has(fallback)}" if fallback is not None else ""
    if backends:
        beside += f", and so have those of rules: {_some([place_of(one) or one.service for one in backends.values()])}"
    if not target.service:
        return Finding("True", "Outside", f"requests go to {place_of(target)}{beside}")
    return Finding("True", "Found", f"Service {_has(target)}{beside}")


def _has(target: Target) -> str:
    return f"{target.service} has port {target.port}" if target.service else f"is {place_of(target)}"


def _unfound(target: Target, ports: Ports | None, role: str, external_name: str) -> Finding | None:
    """What is wrong with the Service of a target. `role` is "" for the application's own Service, otherwise "Fallback" or
    "Rule". A Service of type ExternalName needs to list no ports."""
    if not target.service or (external_name and isinstance(target.port, int)):
        return None
    name = f"Service {target.service}" + (f" ({role.lower()})" if role else "")
    if ports is None:
        dots = ": its name would have no dots, and be of the same namespace" if "." in target.service.partition("/")[2] else ""
        return Finding("False", f"{role}ServiceNotFound", f"there is no {name}{dots}")
    if _has_port(target, ports):
        return None
    there = ", ".join(f"{number} ({name})" if name else str(number) for name, number in ports) or "none"
    return Finding("False", f"{role}PortNotFound", f"{name} has no TCP port {target.port}; it has {_cut(there)}")


NOT_OBSERVED = frozenset({"ServiceNotFound", "PortNotFound", "ExternalName", "Invalid", "Pending"})
"""Reasons that follow from the configuration, not from requests: they are valid only while the configuration is unchanged."""


def _reachable(resource: Resource, facts: Facts, backend: Finding) -> Finding:
    if backend.status != "True" and not backend.reason.startswith(("Fallback", "Rule")):
        return backend
    if facts.reachable is not None:
        return facts.reachable
    before = resource.conditions.get(REACHABLE)
    if before is not None and before.observed_generation == resource.meta.generation and before.reason not in NOT_OBSERVED:
        return Finding(before.status, before.reason, before.message)
    return Finding("True", "NoFailure", "no request has waited in vain for a backend")


def _not_spoken(resource: Resource, protocol: str) -> Finding:
    target = resource.route.target if resource.route is not None else None
    where = f"port {target.port} of Service {target.service}" if target is not None else "its Service"
    spoken = "plain HTTP/1.1" if target is None or target.tls is None else "HTTP/1.1 over TLS"
    why = f"{where} says appProtocol {protocol}, which is not spoken yet: requests are sent as {spoken}"
    return Finding("False", "ProtocolNotSpoken", why)


def _bodies(facts: Facts) -> Finding:
    if facts.problem:
        return Finding("Unknown", "Invalid", facts.problem)
    if facts.missing_bodies:
        return Finding("False", "BodyNotFound", f"answered with 500: {_some(facts.missing_bodies)}")
    return Finding("True", "Found", "the bodies of all answers are there")


def _has_port(target: Target, ports: Ports) -> bool:
    return any(target.port in (name, number) for name, number in ports)


def _conflict(facts: Facts) -> Finding:
    if facts.shadowed_by is not None:
        return Finding("True", "InterceptorRouteExists", f"{facts.shadowed_by} has the same name and takes its place")
    contention = facts.scaling.contention
    if not facts.lost:
        if contention is not None:
            return Finding("True", "WorkloadTaken" if contention.yields else "WorkloadScaledTwice", contention.message)
        return Finding("False", "NoConflict", "no other object claims the same")
    held = _some([f"{lost.claim} is held by {lost.winner}" for lost in facts.lost])
    return Finding("True", "ClaimedByOlder", held)


def _propagated(resource: Resource, facts: Facts) -> Finding:
    if facts.problem:
        return Finding("False", "Invalid", facts.problem)
    if facts.shadowed_by is not None:
        return Finding("False", "InterceptorRouteExists", f"{facts.shadowed_by} is served instead")
    if facts.verdict is None:
        return _still_propagated(resource, facts, "the routing table with this route was not written yet")
    return _judged(resource, facts, facts.verdict)


def _judged(resource: Resource, facts: Facts, verdict: Verdict) -> Finding:
    version, summary = verdict.version, f"{verdict.serving}/{verdict.total} interceptors serve version {verdict.version}"
    if verdict.pending:
        return _still_propagated(resource, facts, f"interceptors were not heard yet about version {version}")
    if verdict.missing:
        names = _some([f"{missing.name} ({missing.why})" for missing in verdict.missing])
        return Finding("False", "Propagating", f"{summary}; not: {names}")
    if not verdict.total:
        return Finding("False", "NoInterceptors", "no interceptor is ready")
    return Finding("True", "Propagated", summary)


def _still_propagated(resource: Resource, facts: Facts, why: str) -> Finding:
    """A result from the time when others held its claims does not apply to the requests that it gets only now."""
    conflict, before = _conflict(facts), resource.conditions.get(CONFLICT)
    if before is None or (before.status, before.message) != (conflict.status, _cut(conflict.message)):
        return Finding("Unknown", PENDING, why)
    return _still(resource, ROUTES_PROPAGATED, why)


def _still(resource: Resource, kind: str, why: str) -> Finding:
    """Currently unknown: keep the earlier result for this generation, perhaps of a previous leader, until it is known."""
    before = resource.conditions.get(kind)
    if before is not None and before.observed_generation == resource.meta.generation:
        return Finding(before.status, before.reason, before.message)
    return Finding("Unknown", PENDING, why)


def _scaled_object(resource: Resource, facts: Facts) -> Finding:
    found = judged(resource, facts.scaling)
    return found or _still(resource, SCALED_OBJECT_READY, "the ScaledObjects were not read; is KEDA installed?")


def _scheduled(resource: Resource, facts: Facts, minimum: Minimum) -> Finding:
    if not facts.scaling.known or facts.scaling.missing:
        return _still(resource, SCHEDULED, "the ScaledObjects were not read; is KEDA installed?")
    return found_of(resource.schedules, minimum, facts.scaling.found)


def _workload(spec: HTTPScaledObjectSpec) -> str:
    target = spec.scale_target_ref
    return f"{target.api_version or 'apps/v1'}/{target.kind or 'Deployment'}/{target.name}" if target.name else ""


def _service(resource: Resource) -> str:
    spec = resource.spec
    if spec is None:
        return ""
    target = spec.scale_target_ref if isinstance(spec, HTTPScaledObjectSpec) else spec.target
    if target.service is None:
        return _cut(place_of(resource.route.target)) if resource.route is not None else ""
    return f"{target.service}:{target.port if target.port is not None else target.port_name}"


def _hosts(resource: Resource) -> str:
    """The hosts of all rules without duplicates; "*" if a rule has any host."""
    rules = resource.route.rules if resource.route is not None else ()
    hosts = dict.fromkeys(host for rule in rules for host in (rule.hosts or ("*",)))
    return _cut(_some(list(hosts)))


def _scaled_by(resource: Resource, facts: Facts) -> str:
    if not facts.scaling.known:
        return resource.status.scaled_by
    return "" if facts.scaling.found is None else f"ScaledObject/{facts.scaling.found.meta.name}"


def _is_http(resource: Resource) -> bool:
    """Ready includes scaling if the controller manages the ScaledObject, and not if its author provides it."""
    spec = resource.spec
    scaled = not isinstance(spec, HTTPScaledObjectSpec) or spec.scale_target_ref.is_scaled
    return resource.kind == HTTP_SCALED_OBJECTS and scaled and not resource.meta.annotated(SKIP)


def _some(items: Sequence[str]) -> str:
    more = len(items) - MAX_NAMED
    return ", ".join(items[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _cut(text: str) -> str:
    """A message with bounded length, and without characters that a terminal acts on when the object is described."""
    text = one_line(text)
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"
