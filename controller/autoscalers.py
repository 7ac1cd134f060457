"""What scales workloads: KEDA's ScaledObjects and HorizontalPodAutoscalers, parsed into frozen values. No I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS, Kind
from controller.resources import Key, ObjectMeta, Resource
from controller.schema.http_scaled_object import HTTPScaledObjectSpec

__all__ = [
    "APP_KEYS",
    "LETTING_GO",
    "MAX_NAME",
    "PAUSED_REPLICAS",
    "SCALED_OBJECT",
    "Autoscaler",
    "ScaledObject",
    "Trigger",
    "Workload",
    "parse_autoscaler",
    "parse_scaled_object",
    "workload_of",
]

SCALED_OBJECT = Kind("ScaledObject", "v1alpha1", "scaledobjects", group="keda.sh")
APP_KEYS = ("app", "httpScaledObject", "interceptorRoute")
"""Keys of a trigger's metadata that name an application."""
MAX_NAME = 63
"""Characters. KEDA labels each ScaledObject with its own name, and a label value may not be longer."""

LETTING_GO = "httpscaledobject.keda.sh/letting-go"
"""Annotation on a ScaledObject: the controller has paused it, so that KEDA scales down a workload that it will no longer
scale."""
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_BOTH_WAYS = ("autoscaling.keda.sh/paused-scale-in", "autoscaling.keda.sh/paused-scale-out")
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
"""False values of Go's strconv.ParseBool: KEDA takes every other value as true."""

_KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}
"""KEDA ignores the case of a kind."""

Json = dict[str, Any]


class Workload(msgspec.Struct, frozen=True, order=True):
    """A workload: a Deployment, or any other kind with a scale subresource. Compared without the API version."""

    namespace: str
    group: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Trigger(msgspec.Struct, frozen=True):
    """A trigger of a ScaledObject."""

    type: str = ""
    metadata: dict[str, str] | None = None

    @property
    def is_external(self) -> bool:
        """Whether it uses an external scaler, and not one that is built into KEDA."""
        return self.type in ("external", "external-push")

    @property
    def named(self) -> dict[str, str]:
        """The keys that name an application, and their values, as the scaler reads them."""
        metadata = self.metadata or {}
        return {key: value for key in APP_KEYS if (value := metadata.get(key, "").strip())}


class ScaledObject(msgspec.Struct, frozen=True):
    """A ScaledObject without the parts of its status that KEDA changes all the time."""

    meta: ObjectMeta
    spec: Json
    workload: Workload
    triggers: tuple[Trigger, ...]
    apps: frozenset[str]
    """ "namespace/name" of every application that a trigger names."""
    ready: str
    """Status of KEDA's condition Ready; "" before it exists."""
    message: str
    paused_count: int | None = None
    """Number of replicas to which KEDA has scaled the workload because of a pause."""
    inactive: str = ""
    """Message of KEDA's condition HPAActive while it is False: why the HPA computes nothing."""
    active: bool = False
    """Whether KEDA's condition Active is True: whether the scaler has told it of demand."""

    @property
    def kind(self) -> Kind:
        return SCALED_OBJECT

    @property
    def key(self) -> Key:
        return Key(SCALED_OBJECT.kind, self.meta.namespace, self.meta.name)

    @property
    def pause(self) -> str:
        """The annotation that pauses KEDA's scaling, as "name=value", or ""."""
        annotations = self.meta.annotations or {}
        if PAUSED_REPLICAS in annotations:
            return f"{PAUSED_REPLICAS}={annotations[PAUSED_REPLICAS]}"
        found = [name for name in (_PAUSED, *_PAUSED_BOTH_WAYS) if annotations.get(name, "false") not in _FALSE]
        return f"{found[0]}={annotations[found[0]]}" if found else ""

    @property
    def troubles(self) -> tuple[bool, bool, bool]:
        """What prevents scaling, the worst first: whether KEDA reports an error, whether it is paused, whether its HPA
        computes nothing."""
        return (self.ready == "False", bool(self.pause), bool(self.inactive))

    @property
    def letting_go(self) -> bool:
        """Whether the controller itself has paused it, before its workload changes."""
        return LETTING_GO in (self.meta.annotations or {})

    def owned_by(self, resource: Resource) -> bool:
        return any(owner.uid == resource.meta.uid for owner in self.meta.owner_references or ())

    @property
    def is_users(self) -> bool:
        """Whether a user created it, not the controller."""
        return not any(owner.kind == HTTP_SCALED_OBJECTS.kind for owner in self.meta.owner_references or ())


class Autoscaler(msgspec.Struct, frozen=True):
    """A HorizontalPodAutoscaler without the parts that its controller changes all the time."""

    meta: ObjectMeta
    workload: Workload

    @property
    def is_users(self) -> bool:
        """Whether a user created it, not KEDA."""
        return not any(owner.kind == SCALED_OBJECT.kind for owner in self.meta.owner_references or ())


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    message: str = ""


class _Status(msgspec.Struct, rename="camel"):
    conditions: list[_Condition] | None = None
    paused_replica_count: int | None = None


class _Head(msgspec.Struct, rename="camel"):
    metadata: ObjectMeta
    spec: Json | None = None


def parse_scaled_object(data: bytes | msgspec.Raw) -> ScaledObject:
    """A ScaledObject from the API server's JSON. Raises ValueError."""
    raw: Json = msgspec.json.decode(data)
    # The generation is dropped, so that a new generation with an equal spec compares equal.
    meta = msgspec.structs.replace(msgspec.convert(raw.get("metadata"), ObjectMeta), generation=0)
    spec: Json = raw.get("spec") or {}
    status = msgspec.convert(raw.get("status") or {}, _Status)
    conditions = {condition.type: condition for condition in status.conditions or ()}
    ready, active = conditions.get("Ready", _Condition()), conditions.get("HPAActive", _Condition())
    triggers = _triggers(spec)
    return ScaledObject(
        meta,
        spec,
        _target(meta.namespace, spec),
        triggers,
        frozenset(_apps(meta.namespace, triggers)),
        ready.status,
        ready.message,
        status.paused_replica_count,
        (active.message or "KEDA gives no reason") if active.status == "False" else "",
        conditions.get("Active", _Condition()).status == "True",
    )


def parse_autoscaler(data: bytes | msgspec.Raw) -> Autoscaler:
    """A HorizontalPodAutoscaler from the API server's JSON. Raises ValueError."""
    head = msgspec.json.decode(data, type=_Head)
    meta = msgspec.structs.replace(head.metadata, generation=0, labels=None, annotations=None)
    return Autoscaler(meta, _target(meta.namespace, head.spec or {}))


def workload_of(resource: Resource) -> Workload | None:
    """The workload that an HTTPScaledObject wants to scale; None if it names none."""
    spec = resource.spec
    if not isinstance(spec, HTTPScaledObjectSpec) or not spec.scale_target_ref.name:
        return None
    target = spec.scale_target_ref
    return _workload(resource.meta.namespace, target.api_version, target.kind, target.name or "")


def _target(namespace: str, spec: Json) -> Workload:
    target = spec.get("scaleTargetRef")
    found = target if isinstance(target, dict) else {}
    api_version, kind, name = (str(found.get(field) or "") for field in ("apiVersion", "kind", "name"))
    return _workload(namespace, api_version, kind, name)


def _workload(namespace: str, api_version: str | None, kind: str | None, name: str) -> Workload:
    """With KEDA's defaults: a Deployment of apps/v1."""
    group, slash, _ = (api_version or "apps/v1").partition("/")
    kind = kind or "Deployment"
    return Workload(namespace, group if slash else "", _KINDS.get(kind.lower(), kind), name)


def _triggers(spec: Json) -> tuple[Trigger, ...]:
    try:
        return msgspec.convert(spec.get("triggers") or (), tuple[Trigger, ...])
    except msgspec.ValidationError:
        return ()


def _apps(namespace: str, triggers: tuple[Trigger, ...]) -> list[str]:
    named = [name for trigger in triggers if trigger.is_external for name in trigger.named.values()]
    return [name if "/" in name else f"{namespace}/{name}" for name in named]
