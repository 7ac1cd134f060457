"""What scales workloads: KEDA's ScaledObjects and HorizontalPodAutoscalers, parsed at the edge into frozen values. No I/O."""

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
"""Characters. KEDA labels each ScaledObject with its own name, and no value of a label may be longer."""

LETTING_GO = "httpscaledobject.keda.sh/letting-go"
"""On a ScaledObject: the controller has paused it, so that KEDA scales down what it is to scale no longer."""
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_BOTH_WAYS = ("autoscaling.keda.sh/paused-scale-in", "autoscaling.keda.sh/paused-scale-out")
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
"""As Go's strconv.ParseBool: KEDA takes everything else for true."""

_KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}
"""KEDA minds no case."""

Json = dict[str, Any]


class Workload(msgspec.Struct, frozen=True, order=True):
    """What is scaled: a Deployment, or any other kind that has a scale. Compared without the version of its kind."""

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
        """Whether a scaler of somebody's own is asked, and not one of KEDA's."""
        return self.type in ("external", "external-push")

    @property
    def named(self) -> dict[str, str]:
        """The keys that name an application, and what they say, as the scaler reads them."""
        metadata = self.metadata or {}
        return {key: value for key in APP_KEYS if (value := metadata.get(key, "").strip())}


class ScaledObject(msgspec.Struct, frozen=True):
    """A ScaledObject as it is, without what KEDA changes all the time."""

    meta: ObjectMeta
    spec: Json
    workload: Workload
    triggers: tuple[Trigger, ...]
    apps: frozenset[str]
    """"namespace/name" of every application that a trigger names."""
    ready: str
    """Status of KEDA's condition Ready; "" before there is one."""
    message: str
    paused_count: int | None = None
    """How many replicas KEDA has scaled the workload to because of a pause."""
    inactive: str = ""
    """What KEDA's condition HPAActive says while it is False: why the HPA counts nothing."""

    @property
    def kind(self) -> Kind:
        return SCALED_OBJECT

    @property
    def key(self) -> Key:
        return Key(SCALED_OBJECT.kind, self.meta.namespace, self.meta.name)

    @property
    def pause(self) -> str:
        """The annotation that keeps KEDA from scaling, as "name=value", or ""."""
        annotations = self.meta.annotations or {}
        if PAUSED_REPLICAS in annotations:
            return f"{PAUSED_REPLICAS}={annotations[PAUSED_REPLICAS]}"
        found = [name for name in (_PAUSED, *_PAUSED_BOTH_WAYS) if annotations.get(name, "false") not in _FALSE]
        return f"{found[0]}={annotations[found[0]]}" if found else ""

    @property
    def troubles(self) -> tuple[bool, bool, bool]:
        """What keeps it from scaling, the worst first: whether KEDA has a complaint, whether it is paused, whether its HPA counts
        nothing."""
        return (self.ready == "False", bool(self.pause), bool(self.inactive))

    @property
    def letting_go(self) -> bool:
        """Whether its pause is the controller's own, before its workload becomes another."""
        return LETTING_GO in (self.meta.annotations or {})

    def owned_by(self, resource: Resource) -> bool:
        return any(owner.uid == resource.meta.uid for owner in self.meta.owner_references or ())

    @property
    def is_users(self) -> bool:
        """Whether it is not one of those that the controller makes for HTTPScaledObjects."""
        return not any(owner.kind == HTTP_SCALED_OBJECTS.kind for owner in self.meta.owner_references or ())


class Autoscaler(msgspec.Struct, frozen=True):
    """A HorizontalPodAutoscaler, without what its controller changes all the time."""

    meta: ObjectMeta
    workload: Workload

    @property
    def is_users(self) -> bool:
        """Whether it is not one of those that KEDA makes for ScaledObjects."""
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
    """A ScaledObject as the API server gave it. Raises ValueError."""
    raw: Json = msgspec.json.decode(data)
    # The generation is not kept: a spec that says the same is the same.
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
    )


def parse_autoscaler(data: bytes | msgspec.Raw) -> Autoscaler:
    """A HorizontalPodAutoscaler as the API server gave it. Raises ValueError."""
    head = msgspec.json.decode(data, type=_Head)
    meta = msgspec.structs.replace(head.metadata, generation=0, labels=None, annotations=None)
    return Autoscaler(meta, _target(meta.namespace, head.spec or {}))


def workload_of(resource: Resource) -> Workload | None:
    """What an HTTPScaledObject wants to have scaled; None where it names nothing."""
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
