"""What is made for a Preview: the manifests of the workload, the Service and the HTTPScaledObject, from those of its base. Pure.

Labels by which the base's Service and workload find pods get other values in the copy, so that neither finds pods of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from math import ceil
from typing import Any

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS, PREVIEWS
from controller.preview.confining import beyond, unconfined
from controller.preview.resource import Preview
from controller.problem import Problem
from controller.resources import Resource
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.preview import Hook, Overrides, PreviewReplicas

__all__ = [
    "BASE_LABEL",
    "DIGEST",
    "FROM_LABEL",
    "KINDS",
    "MAX_LABEL",
    "NAME_LABEL",
    "UID_LABEL",
    "Json",
    "after_job_of",
    "is_after_job",
    "is_left_behind",
    "is_owned",
    "job_of",
    "labels_elsewhere",
    "labels_of_pods",
    "owner_of",
    "scaled_object_of",
    "service_of",
    "workload_of",
]

Json = dict[str, Any]
Selectors = Sequence[Mapping[str, str]]

NAME_LABEL, BASE_LABEL = "weir.dev/preview", "weir.dev/preview-of"
UID_LABEL, FROM_LABEL = "weir.dev/preview-uid", "weir.dev/preview-from"
"""The uid and the namespace of the Preview, of what it does not own: what is in another namespace, and Jobs of hooks after (the
uid), as what is owned is deleted first in the foreground."""
KINDS = ("Deployment", "StatefulSet")
"""Kinds of workloads that are copied."""
MAX_LABEL = 63
MAX_STATEFUL_NAME = 52
"""Characters: the label controller-revision-hash of its pods has ten more, and one between."""
DIGEST = 8
"""Characters of a digest that tell names apart."""
_TRACKING = (
    "argocd.argoproj.io/",
    "helm.sh/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "scaledobject.keda.sh/",
)
"""Prefixes of labels by which tools know what is theirs, and would remove the copy as not theirs."""
_TRACKED = ("app.kubernetes.io/instance", "app.kubernetes.io/managed-by")
_KEPT = (
    *("targetPendingRequests", "scaledownPeriod", "initialCooldownPeriod", "scalingMetric", "activityPeriod", "maxBusy"),
    *("pollingInterval", "directPodRouting"),
)
"""Fields of the base's HTTPScaledObject that say how the copy is scaled, and reached."""


def workload_of(preview: Preview, base: Json, selectors: Selectors) -> Json:
    """The copy of a Deployment or StatefulSet, without a number of replicas. `selectors` are those of the Services of the
    namespace. Raises Problem."""
    kind, spec = base["kind"], base.get("spec", {})
    selector = spec.get("selector", {})
    if kind not in KINDS:
        raise Problem("spec.base", f"its workload is a {kind}, and only Deployments and StatefulSets can be copied")
    if kind == "StatefulSet" and len(preview.copy) > MAX_STATEFUL_NAME:
        raise Problem("spec.name", f"{preview.copy} is longer than {MAX_STATEFUL_NAME} characters, and its pods could not start")
    if selector.get("matchExpressions"):
        raise Problem("spec.base", f"the selector of {kind} {base['metadata']['name']} has matchExpressions")
    labels = labels_of_pods(preview, base, selectors)
    matched = {name: labels[name] for name in (*selector.get("matchLabels", {}), NAME_LABEL, BASE_LABEL)}
    template = spec.get("template", {})
    annotations = template.get("metadata", {}).get("annotations")
    metadata: Json = {} if annotations is None else {"annotations": annotations}
    made = {name: value for name, value in spec.items() if name not in ("replicas", "selector", "template")}
    made |= {
        "selector": {"matchLabels": matched},
        "template": {"metadata": {**metadata, "labels": labels}, "spec": _pod(template.get("spec", {}), preview.overrides)},
    }
    if kind == "StatefulSet":
        made["serviceName"] = preview.copy
        made["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Retain"}
    return {"apiVersion": base["apiVersion"], "kind": kind, "metadata": _metadata(preview, base), "spec": made}


def labels_of_pods(preview: Preview, workload: Json, selectors: Selectors) -> dict[str, str]:
    """The labels of the copy's pods: all by which a Service or the workload finds the pods of the base are others."""
    spec = workload.get("spec", {})
    labels = dict(spec.get("template", {}).get("metadata", {}).get("labels") or {})
    finding = set(spec.get("selector", {}).get("matchLabels") or {})
    for selector in selectors:
        if selector and selector.items() <= labels.items():
            finding.update(selector)
    other = {name: _other(labels[name], preview.name) for name in finding if name in labels}
    return _untracked(labels) | other | {NAME_LABEL: preview.name, BASE_LABEL: preview.base.name[:MAX_LABEL]}


def _other(value: str, name: str) -> str:
    """Another value of a label: the name of the preview behind it, and of a long value only its beginning."""
    return f"{value[: MAX_LABEL - len(name) - 2]}--{name}".lstrip("-")[:MAX_LABEL].rstrip("-")


def service_of(preview: Preview, base: Json, workload: Json, selectors: Selectors) -> Json:
    """The copy of a Service. Raises Problem."""
    spec = base.get("spec", {})
    selector = spec.get("selector")
    if not selector:
        raise Problem("spec.base", f"Service {base['metadata']['name']} has no selector, so that a copy would find no pods")
    labels = labels_of_pods(preview, workload, (selector, *selectors))
    if missing := [name for name in selector if name not in labels]:
        raise Problem("spec.base", f"Service {base['metadata']['name']} does not select the pods of its workload: {missing[0]}")
    kept = ("name", "port", "targetPort", "protocol", "appProtocol")
    made: Json = {
        "selector": {**{name: labels[name] for name in selector}, NAME_LABEL: preview.name, BASE_LABEL: labels[BASE_LABEL]},
        "ports": [{name: port[name] for name in kept if name in port} for port in spec.get("ports", ())],
    }
    made |= {name: spec[name] for name in ("publishNotReadyAddresses", "sessionAffinity") if name in spec}
    if spec.get("clusterIP") == "None":
        made["clusterIP"] = "None"
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(preview, base), "spec": made}


def scaled_object_of(preview: Preview, base: Resource) -> Json:
    """The HTTPScaledObject of the copy. Raises Problem."""
    if not isinstance(base.spec, HTTPScaledObjectSpec):
        raise Problem("spec.base", f"{base.key} is not valid")
    given: Json = msgspec.to_builtins(base.spec)
    of_base = ("tls", "appProtocol")
    target = {name: value for name, value in given["scaleTargetRef"].items() if value is not None and name not in of_base}
    replicas = preview.overrides.replicas or PreviewReplicas()
    most = replicas.max or (base.spec.replicas.max if base.spec.replicas is not None else None)
    spec = {name: _given(given[name]) for name in _KEPT if given.get(name) is not None}
    elsewhere = {"namespace": preview.meta.namespace, "uid": preview.meta.uid} if preview.is_elsewhere else {}
    spec |= {
        "previewOf": {"base": preview.base.name, "name": preview.name, **elsewhere},
        "scaleTargetRef": target | {"name": preview.copy, "service": preview.copy},
        "replicas": {"min": replicas.min} | ({} if most is None else {"max": most}),
    }
    metadata = _metadata(preview, {"metadata": {}})
    kind = HTTP_SCALED_OBJECTS
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def _given(value: Any) -> Any:
    return {name: _given(inner) for name, inner in value.items() if inner is not None} if isinstance(value, dict) else value


def _metadata(preview: Preview, base: Json) -> Json:
    labels = _untracked(base["metadata"].get("labels") or {})
    whole = {"name": preview.copy, "namespace": preview.place}
    if preview.is_elsewhere:
        return {**whole, "labels": {**labels, **labels_elsewhere(preview)}}
    return {**whole, "labels": {**labels, **_own_labels(preview)}, "ownerReferences": [owner_of(preview)]}


def _own_labels(preview: Preview) -> Json:
    return {NAME_LABEL: preview.name, BASE_LABEL: preview.base.name[:MAX_LABEL]}


def labels_elsewhere(preview: Preview) -> Json:
    """Of what is made for it in another namespace."""
    return {**_own_labels(preview), **_of_preview(preview)}


def _of_preview(preview: Preview) -> Json:
    """By which it is known, whatever the Preview says now."""
    return {UID_LABEL: preview.meta.uid, FROM_LABEL: preview.meta.namespace}


def job_of(preview: Preview, hook: Hook, account: str = "", field: str = "spec.before") -> Json:
    """The Job of a hook. `account` is the ServiceAccount of the base's pods, the only one that it may have. Raises Problem."""
    template = hook.job.get("template")
    pod = template.get("spec") if isinstance(template, dict) else None
    containers = pod.get("containers") if isinstance(pod, dict) else None
    if not isinstance(template, dict) or not isinstance(pod, dict) or not isinstance(containers, list):
        raise Problem(field, f"hook {hook.name} has no template with containers")
    names = [{"name": "WEIR_PREVIEW", "value": preview.name}, {"name": "WEIR_PREVIEW_OF", "value": preview.base.name}]
    if what := beyond(pod, account):
        raise Problem(field, f"hook {hook.name} may not have {what}")
    own = {
        kind: [{**one, "env": [*(one.get("env") or ()), *names]} for one in pod[kind]]
        for kind in ("initContainers", "containers")
        if kind in pod
    }
    metadata = template.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if what := unconfined(annotations):
        raise Problem(field, f"hook {hook.name} may not have {what}")
    # Of labels only ours: by others, Services would take its pods for those of an application.
    labels = _own_labels(preview)
    made = {
        "metadata": {"labels": labels} | ({} if annotations is None else {"annotations": annotations}),
        "spec": {"restartPolicy": "Never", **pod, **own},
    }
    # Who deletes what has ended says that it shall run again.
    spec = {name: value for name, value in hook.job.items() if name != "ttlSecondsAfterFinished"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": _shortened(f"{preview.copy}-{hook.name}"),
            "namespace": preview.meta.namespace,
            "labels": labels,
            "ownerReferences": [owner_of(preview)],
        },
        "spec": {**spec, "template": made},
    }


def after_job_of(preview: Preview, hook: Hook, account: str) -> Json:
    """The Job of a hook after. Its name is of this very Preview. Raises Problem."""
    made = job_of(preview, hook, account, "spec.after")
    limit = ceil(preview.after_timeout)
    digest = sha256(preview.meta.uid.encode()).hexdigest()[:DIGEST]
    metadata = {name: value for name, value in made["metadata"].items() if name != "ownerReferences"}
    metadata |= {
        "name": _shortened(f"{preview.copy}-{hook.name}-{digest}"),
        "labels": {**metadata["labels"], UID_LABEL: preview.meta.uid},
    }
    # What nobody deletes any more, because the Preview was let go by hand, ends and goes by itself: but only after the time for
    # all hooks, as one that was gone before would run again.
    ending = {"ttlSecondsAfterFinished": limit, "activeDeadlineSeconds": made["spec"].get("activeDeadlineSeconds", limit)}
    return {**made, "metadata": metadata, "spec": {**made["spec"], **ending}}


def is_after_job(found: Json, preview: Preview) -> bool:
    """Whether a Job is that of a hook after of this Preview."""
    return (found["metadata"].get("labels") or {}).get(UID_LABEL) == preview.meta.uid


def _shortened(name: str) -> str:
    """As long as a name may be. Names that begin alike stay different."""
    if len(name) <= MAX_LABEL:
        return name
    digest = sha256(name.encode()).hexdigest()[:DIGEST]
    return f"{name[: MAX_LABEL - DIGEST - 1].rstrip('-')}-{digest}"


def owner_of(preview: Preview) -> Json:
    """With it, Kubernetes deletes what was made when the Preview is deleted."""
    return {
        "apiVersion": PREVIEWS.api_version,
        "kind": PREVIEWS.kind,
        "name": preview.meta.name,
        "uid": preview.meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_owned(found: Json, preview: Preview) -> bool:
    """Whether an object was made for this Preview."""
    if found["metadata"].get("namespace", preview.meta.namespace) != preview.meta.namespace:
        return _of_preview(preview).items() <= (found["metadata"].get("labels") or {}).items()
    return any(owner.get("uid") == preview.meta.uid for owner in found["metadata"].get("ownerReferences") or ())


def is_left_behind(found: Json, preview: Preview) -> bool:
    """Whether an object was made for an earlier Preview of this name, with which Kubernetes deletes it."""
    owners = found["metadata"].get("ownerReferences") or ()
    return not is_owned(found, preview) and any(
        (one["kind"], one["name"]) == (PREVIEWS.kind, preview.meta.name) for one in owners
    )


def _untracked(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in _TRACKED and not name.startswith(_TRACKING)}


def _pod(base: Json, overrides: Overrides) -> Json:
    containers = [dict(container) for container in base.get("containers", ())]
    if not containers:
        raise Problem("spec.base", "its workload has no containers")
    name = overrides.container
    chosen = containers[0] if name is None else next((one for one in containers if one["name"] == name), None)
    if chosen is None:
        raise Problem("spec.overrides.container", f"there is no container {name} in the base: {_listed(containers)}")
    if overrides.image is not None:
        chosen["image"] = overrides.image
    if overrides.env:
        others = [variable for variable in chosen.get("env", ()) if variable["name"] not in overrides.env]
        chosen["env"] = [*others, *({"name": key, "value": value} for key, value in sorted(overrides.env.items()))]
    if overrides.resources is not None:
        given = {"requests": overrides.resources.requests, "limits": overrides.resources.limits}
        chosen["resources"] = {**chosen.get("resources", {}), **{key: value for key, value in given.items() if value is not None}}
    return {**base, "containers": containers}


def _listed(containers: Iterable[Json]) -> str:
    return ", ".join(str(container["name"]) for container in containers)
