"""The ScaledObject of each HTTPScaledObject: what it should be, and the next step towards it. Pure.

Fields that an HTTPScaledObject can express are owned, and repaired. Other fields that a user has added (fallback, HPA behavior, a
pause) are kept. A ScaledObject of another owner is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from controller.autoscalers import LETTING_GO, PAUSED_REPLICAS, ScaledObject, workload_of
from controller.by_hand import AWAKE_UNTIL, BY_ITSELF, NO_COOLDOWN_UNTIL, ByHand
from controller.limits import for_keda
from controller.problem import Problem
from controller.resources import ObjectMeta, OwnerReference, Resource
from controller.schedules import trigger_of
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.wiring import Scaler
from fleet.defaults import POLLING_SECONDS

__all__ = [
    "ORPHAN",
    "SKIP",
    "Create",
    "Delete",
    "Foreign",
    "Leave",
    "Patch",
    "Step",
    "desired",
    "next_step",
]

SKIP = "httpscaledobject.keda.sh/skip-scaledobject-creation"
ORPHAN = "httpscaledobject.keda.sh/orphan-scaledobject"
COPIED = "httpscaledobject.keda.sh/copied-annotations"
"""Annotation on a ScaledObject: which annotations were copied from its owner, so that they are removed when the owner loses
them."""
API_VERSION = "keda.sh/v1alpha1"

_NOT_COPIED = ("httpscaledobject.keda.sh/", "http.keda.sh/", "kubectl.kubernetes.io/", "argocd.argoproj.io/", "meta.helm.sh/")
"""Prefixes of annotations that concern only the object they are on."""
_OF_OWNER_ALONE = (AWAKE_UNTIL, NO_COOLDOWN_UNTIL)
_KEDAS_LABELS = "scaledobject.keda.sh/"
"""Prefix of labels that KEDA sets on a ScaledObject, and restores when they are changed."""

Json = dict[str, Any]


class Leave(msgspec.Struct, frozen=True):
    """Nothing to do. `managed` is whether the controller manages the ScaledObject."""

    managed: bool = True


class Create(msgspec.Struct, frozen=True):
    manifest: Json


class Patch(msgspec.Struct, frozen=True):
    """A JSON merge patch."""

    patch: Json
    why: str


class Delete(msgspec.Struct, frozen=True):
    uid: str


class Foreign(msgspec.Struct, frozen=True):
    """A ScaledObject of this name exists and is not ours."""

    why: str


Step = Leave | Create | Patch | Delete | Foreign


def desired(resource: Resource, scaler: Scaler, asked: ByHand = BY_ITSELF) -> Json:
    """The ScaledObject of a valid HTTPScaledObject, as it is created. Raises Problem."""
    meta = resource.meta
    annotations = _copied(meta)
    made: Json = {"name": meta.name, "namespace": meta.namespace}
    if labels := _labels(meta):
        made["labels"] = labels
    if annotations:
        made["annotations"] = annotations | {COPIED: ",".join(annotations)}
    if not meta.annotated(ORPHAN):
        made["ownerReferences"] = [_owner(resource)]
    wanted = _without_none(_owned(resource, scaler, asked))
    return {"apiVersion": API_VERSION, "kind": "ScaledObject", "metadata": made, "spec": wanted}


def next_step(
    resource: Resource,
    actual: ScaledObject | None,
    scaler: Scaler,
    *,
    withheld: bool = False,
    served: bool = True,
    shared: bool = True,
    asked: ByHand = BY_ITSELF,
) -> Step:
    """The next step for an HTTPScaledObject. Raises Problem.

    `withheld`: it must have no ScaledObject, because another one scales its workload. `served`: the scaler can know its route;
    KEDA calls the scaler at once, and after an error it waits longer and longer. `shared`: another autoscaler scales, or wants to
    scale, the workload that the ScaledObject scales now. `asked`: what somebody has asked for by hand.
    """
    meta = resource.meta
    if meta.deleting:
        return Leave(managed=False)
    if meta.annotated(SKIP) or withheld or not _spec_of(resource).scale_target_ref.is_scaled:
        return _without(resource, actual, managed=withheld)
    if actual is None:
        wanted = desired(resource, scaler, asked)
        return Create(wanted) if served else Leave()
    if actual.meta.deleting:
        return Leave()  # being deleted: its deletion is a change, and then it is created again
    if meta.annotated(ORPHAN):
        return _release(resource, actual)
    why = _not_ours(resource, actual)
    return Foreign(why) if why else _repair(resource, actual, scaler, shared=shared, asked=asked)


def _without(resource: Resource, actual: ScaledObject | None, *, managed: bool) -> Step:
    """Remove a ScaledObject created before, because the user provides one, or another one scales the workload."""
    if actual is None or not actual.owned_by(resource) or actual.meta.deleting:
        return Leave(managed=managed)
    if resource.meta.annotated(ORPHAN):
        return _release(resource, actual)
    return Delete(actual.meta.uid)


def _release(resource: Resource, actual: ScaledObject) -> Step:
    if not actual.owned_by(resource):
        return Leave(managed=False)
    kept = [_reference(owner) for owner in actual.meta.owner_references or () if owner.uid != resource.meta.uid]
    return Patch({"metadata": {"ownerReferences": kept or None}}, "released from its owner")


def _not_ours(resource: Resource, actual: ScaledObject) -> str:
    """Why a ScaledObject of this name is not ours, or ""."""
    if actual.owned_by(resource):
        return ""
    name = f"ScaledObject {actual.meta.namespace}/{actual.meta.name}"
    owner = next((owner for owner in actual.meta.owner_references or () if owner.controller), None)
    # After a restore from a backup the owner reference has the uid of the earlier object.
    if owner is not None and (owner.kind, owner.name) != (resource.kind.kind, resource.meta.name):
        return f"{name} belongs to {owner.kind} {owner.name}"
    if owner is None and resource.key.app not in actual.apps:
        return f"{name} was made by someone else; delete it, or set the annotation {SKIP}"
    return ""


def _repair(resource: Resource, actual: ScaledObject, scaler: Scaler, *, shared: bool, asked: ByHand) -> Step:
    wanted = _owned(resource, scaler, asked)
    metadata = _metadata_difference(resource, actual)
    minimum = wanted["minReplicaCount"] or 0
    if _must_let_go(resource, actual, minimum, shared=shared):
        if actual.letting_go:
            return Leave()  # KEDA scales the workload down, and reports when it has
        metadata["annotations"] = metadata.get("annotations", {}) | {LETTING_GO: "true", PAUSED_REPLICAS: str(minimum)}
        return Patch({"metadata": metadata}, f"{actual.workload} is let go")
    spec = _difference(wanted, actual.spec)
    if actual.letting_go:
        pause = (resource.meta.annotations or {}).get(PAUSED_REPLICAS)
        metadata["annotations"] = metadata.get("annotations", {}) | {LETTING_GO: None, PAUSED_REPLICAS: pause}
    if not spec and not metadata:
        return Leave()
    patch = {name: part for name, part in (("metadata", metadata), ("spec", spec)) if part}
    return Patch(patch, ", ".join(sorted([f"spec.{name}" for name in spec] + [f"metadata.{name}" for name in metadata])))


def _must_let_go(resource: Resource, actual: ScaledObject, minimum: int, *, shared: bool) -> bool:
    """Whether KEDA must first scale down the old workload of this ScaledObject, because nothing would scale it later.

    KEDA does so for a pause with a number of replicas, so the controller needs no permission to scale. If KEDA does not scale
    now, because of an error or a pause by the user, the workload is left as it is.
    """
    if shared or actual.workload == workload_of(resource) or actual.ready != "True" or not actual.workload.name:
        return False
    return actual.paused_count != minimum if actual.letting_go else not actual.pause


def _metadata_difference(resource: Resource, actual: ScaledObject) -> Json:
    patch: Json = {}
    labels = _difference(_labels(resource.meta), actual.meta.labels or {})
    if labels:
        patch["labels"] = labels
    annotations = _annotations_difference(_copied(resource.meta), actual.meta.annotations or {})
    if annotations:
        patch["annotations"] = annotations
    if not actual.owned_by(resource):
        others = [owner for owner in actual.meta.owner_references or () if not owner.controller]
        patch["ownerReferences"] = [*(_reference(owner) for owner in others), _owner(resource)]
    return patch


def _annotations_difference(wanted: Mapping[str, str], actual: Mapping[str, str]) -> Json:
    before = [name for name in actual.get(COPIED, "").split(",") if name]
    goal: dict[str, str | None] = dict.fromkeys(before) | dict(wanted)
    goal[COPIED] = ",".join(wanted) or None
    return _difference(goal, actual)


def _difference(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> Json:
    """The merge patch that changes `actual` to `wanted`, where None means absent. Other fields are kept."""
    patch: Json = {}
    for name, value in wanted.items():
        found = actual.get(name)
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            if inner := _difference(value, found):
                patch[name] = inner
        elif not _equal(value, found):
            patch[name] = value
    return patch


def _equal(wanted: object, found: object) -> bool:
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same_item, wanted, found))
    return wanted == found


def _same_item(wanted: object, found: object) -> bool:
    """Lists are owned as a whole; a field that is empty in `wanted` may be present or not."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return dict(wanted) == {name: value for name, value in found.items() if name in wanted or value}
    return wanted == found


def _owned(resource: Resource, scaler: Scaler, asked: ByHand) -> Json:
    spec = _spec_of(resource)
    target, replicas = spec.scale_target_ref, spec.replicas
    if not target.name:
        raise Problem("spec.scaleTargetRef.name", "is needed for a ScaledObject: it says what to scale")
    minimum = for_keda(replicas.min) if replicas else None
    return {
        "scaleTargetRef": {"name": target.name, "apiVersion": target.api_version, "kind": target.kind},
        "pollingInterval": for_keda(spec.polling_interval) or POLLING_SECONDS,
        "cooldownPeriod": 0 if asked.hurried else for_keda(spec.scaledown_period),
        "initialCooldownPeriod": for_keda(spec.initial_cooldown_period),
        "minReplicaCount": max(1, minimum or 0) if asked.awake else minimum,
        "maxReplicaCount": for_keda(replicas.max) if replicas else None,
        "advanced": {"restoreToOriginalReplicaCount": True},
        "triggers": [_trigger(resource.meta, scaler), *map(trigger_of, resource.schedules)],
    }


def _without_none(fields: Json) -> Json:
    present = {name: value for name, value in fields.items() if value is not None}
    return {name: _without_none(value) if isinstance(value, dict) else value for name, value in present.items()}


def _trigger(meta: ObjectMeta, scaler: Scaler) -> Json:
    metadata = {"scalerAddress": scaler.address, "httpScaledObject": meta.name}
    if not scaler.trigger_authentication:
        return {"type": "external-push", "metadata": metadata}
    # Set in addition to the reference: if the secret behind the reference is missing, KEDA would dial in plain text.
    metadata["enableTLS"] = "true"
    reference = {"name": scaler.trigger_authentication, "kind": "ClusterTriggerAuthentication"}
    return {"type": "external-push", "metadata": metadata, "authenticationRef": reference}


def _labels(meta: ObjectMeta) -> dict[str, str]:
    return {name: value for name, value in sorted((meta.labels or {}).items()) if not name.startswith(_KEDAS_LABELS)}


def _copied(meta: ObjectMeta) -> dict[str, str]:
    found = sorted((meta.annotations or {}).items())
    return {name: value for name, value in found if not name.startswith(_NOT_COPIED) and name not in _OF_OWNER_ALONE}


def _owner(resource: Resource) -> Json:
    return {
        "apiVersion": resource.kind.api_version,
        "kind": resource.kind.kind,
        "name": resource.meta.name,
        "uid": resource.meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _reference(owner: OwnerReference) -> Json:
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": owner.controller,
        "blockOwnerDeletion": owner.block_owner_deletion,
    }


def _spec_of(resource: Resource) -> HTTPScaledObjectSpec:
    if not isinstance(resource.spec, HTTPScaledObjectSpec):
        raise Problem("spec", f"{resource.key} has none that makes a ScaledObject")
    return resource.spec
