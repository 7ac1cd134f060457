"""The condition about scaling: what scales the workload, and what prevents it from being scaled. Pure."""

from __future__ import annotations

import msgspec

from controller.autoscalers import MAX_NAME, ScaledObject, Workload
from controller.crds import HTTP_SCALED_OBJECTS
from controller.finding import Finding
from controller.resources import Key, Resource
from controller.wiring import Trouble

__all__ = ["PENDING", "UNSCALED", "Contention", "Rival", "ScalingFacts", "by_age", "contention", "judged", "too_long"]


PENDING = "Pending"
"""The reason of a condition that is not known yet."""
UNSCALED = "Outside"
"""The reason when nothing is to be scaled, because requests go outside of the cluster."""
_PENDING = Finding("Unknown", PENDING, "KEDA has not said yet whether the ScaledObject is ready: does its operator run?")


class Rival(msgspec.Struct, frozen=True):
    """Another object that scales a workload."""

    key: Key
    created: float
    """Seconds since the epoch."""


class Contention(msgspec.Struct, frozen=True):
    """A conflict: another object scales the workload of an HTTPScaledObject."""

    workload: Workload
    other: Key
    yields: bool
    """Whether the HTTPScaledObject is the younger one, and has no ScaledObject while the other exists."""

    @property
    def message(self) -> str:
        if self.yields:
            return f"{self.other} is older and scales {self.workload}: this one has no ScaledObject, and wakes nothing"
        return f"{self.other} scales {self.workload}, too, and nothing scales while both do: remove it"


class ScalingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about the scaling of one object."""

    managed: bool = True
    """Whether the controller manages its ScaledObject."""
    known: bool = False
    """Whether the ScaledObjects were read."""
    missing: bool = False
    """The API server does not know the kind ScaledObject."""
    found: ScaledObject | None = None
    trouble: Trouble | None = None
    """Why its ScaledObject is not as desired."""
    miswired: Trouble | None = None
    """Why the ScaledObject, which its user wrote, does not scale by it."""
    contention: Contention | None = None
    unserved: bool = False
    """All its claims belong to other objects, so it gets neither requests nor a ScaledObject."""


def by_age(created: float, key: Key) -> tuple[float, str, str, str]:
    """The order in which workloads and claims are assigned: the oldest first, then by namespace and name."""
    return (created, key.namespace, key.name, key.kind)


def contention(resource: Resource, workload: Workload, rivals: list[Rival]) -> Contention | None:
    """The conflict with others that scale the same workload. `rivals`, which may be empty, were created by users."""
    if not rivals:
        return None
    first = min(rivals, key=lambda rival: by_age(rival.created, rival.key))
    yields = by_age(first.created, first.key) < by_age(resource.meta.created, resource.key)
    return Contention(workload, first.key, yields)


def too_long(resource: Resource) -> Trouble | None:
    """The name is too long for KEDA, whose own error message does not say so."""
    length = len(resource.meta.name)
    if length <= MAX_NAME:
        return None
    return Trouble(
        "NameTooLong",
        f"KEDA takes no ScaledObject whose name has more than {MAX_NAME} characters, and it would have this object's, "
        f"which has {length}: give this object a shorter name, or let an InterceptorRoute and a ScaledObject of a "
        "shorter name take its place",
    )


def judged(resource: Resource, facts: ScalingFacts) -> Finding | None:
    """The condition ScaledObjectReady; None while the ScaledObjects were not read."""
    if facts.missing:
        return Finding("False", "KedaMissing", "the API server knows no ScaledObjects: KEDA is not installed")
    if facts.trouble is not None:
        return Finding("False", facts.trouble.reason, facts.trouble.message)
    if not facts.known:
        return None
    managed = facts.managed and resource.kind == HTTP_SCALED_OBJECTS
    if managed and (facts.unserved or (facts.contention is not None and facts.contention.yields)):
        return Finding("False", "Withheld", "there is no ScaledObject as long as there is a conflict")
    if facts.found is None and not managed:
        return _unscaled(resource)
    return _of_keda(facts.found, facts.miswired)


def _unscaled(resource: Resource) -> Finding:
    if resource.route is not None and resource.route.target.is_outside:
        return Finding("False", UNSCALED, "requests go outside of the cluster, where nothing is scaled")
    return Finding("False", "NoScaledObject", f"no ScaledObject in namespace {resource.meta.namespace} names this application")


def _of_keda(found: ScaledObject | None, miswired: Trouble | None) -> Finding:
    if found is None:
        return _PENDING
    name = f"ScaledObject {found.meta.name}"
    if miswired is not None:
        return Finding("False", miswired.reason, f"{name} names this application, but {miswired.message}")
    if found.pause and found.ready != "False":
        return _paused(found, name)
    if found.ready != "True":
        silent = found.ready in ("", "Unknown") and not found.message
        return _PENDING if silent else Finding(found.ready, "NotReady", f"{name}: {found.message or 'KEDA gives no reason'}")
    if found.inactive:
        return Finding("False", "HPANotActive", f"{name}: {found.inactive}")
    return Finding("True", "Ready", f"{name} is ready")


def _paused(found: ScaledObject, name: str) -> Finding:
    if found.letting_go:
        return Finding("Unknown", PENDING, f"{name} lets {found.workload} go before it scales another workload")
    return Finding("True", "Paused", f"{name} is paused by its annotation {found.pause}: KEDA does not scale")
