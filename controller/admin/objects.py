"""From the document of an application to its three objects, and back. Pure: no I/O, no clock.

The HTTPScaledObject owns the Deployment and the Service by owner references, and Weir's controller gives it a ScaledObject that
it owns as well: who deletes it deletes all of them, even with nobody there to finish. The document is read back from the objects
themselves, each field from the object that it is about, so that nobody can change through one object what another one says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from controller.admin.documents import Dependency, Document, EnvironmentSource, Port
from controller.crds import HTTP_SCALED_OBJECTS
from controller.durations import seconds
from controller.scaledobject import SKIP
from fleet.discovery.kubernetes.objects import SERVICES
from fleet.discovery.kubernetes.objects import Resource as Path

__all__ = [
    "APP_LABEL",
    "DEPLOYMENTS",
    "HTTP_SCALED_OBJECTS_PATH",
    "KINDS",
    "MANAGED",
    "MANAGED_BY",
    "UNDER_WAY",
    "Json",
    "Live",
    "Part",
    "amount",
    "complete",
    "document_of",
    "manifests",
    "marked",
    "partial_document_of",
    "same",
]

Json = dict[str, Any]

HTTP_SCALED_OBJECTS_PATH = Path(f"/apis/{HTTP_SCALED_OBJECTS.api_version}", HTTP_SCALED_OBJECTS.plural)
DEPLOYMENTS = Path("/apis/apps/v1", "deployments")

MANAGED_BY, MANAGED = "app.kubernetes.io/managed-by", "weir-admin"
"""Label, and its value, of every object that this API makes."""
APP_LABEL = "weir.dev/app"
"""Label by which the Deployment and the Service select the pods of an application."""
UNDER_WAY = "weir.dev/change"
"""Annotation on an HTTPScaledObject while a change is under way, with the change's id. The write that removes it completes the
change."""
DEFAULT_ACCOUNT = "default"
"""The account of every pod that names none. It is always written out: an API server keeps the old account of a pod template
from which the field is removed, as it has the account a second time under a deprecated name."""

_NEEDED = {"name": "name", "optional": "optional", "keepAwake": "keep_awake"}
"""Fields of a dependency in an HTTPScaledObject, and in a document."""
_APP_PROTOCOLS = {"http": None, "h2c": "kubernetes.io/h2c", "https": "https", "h2": "h2"}
_PROTOCOLS = {app_protocol: protocol for protocol, app_protocol in _APP_PROTOCOLS.items()}
_SCALE_OF_SUFFIX = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** (power + 1) for power, suffix in enumerate(("k", "M", "G", "T"))},
    **{suffix: Decimal(1024) ** (power + 1) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti"))},
}


class Part(msgspec.Struct, frozen=True):
    """One of the three kinds of objects of an application."""

    kind: str
    path: Path


KINDS = {
    kind: Part(kind, path)
    for kind, path in (("HTTPScaledObject", HTTP_SCALED_OBJECTS_PATH), ("Service", SERVICES), ("Deployment", DEPLOYMENTS))
}
"""In the order of their making: the owner first."""


class Live(msgspec.Struct, frozen=True):
    """The objects of an application's name as they are now; None for one that does not exist."""

    objects: Mapping[str, Json | None]
    """By kind."""

    @property
    def owner(self) -> Json | None:
        return self.objects["HTTPScaledObject"]

    @property
    def is_ours(self) -> bool:
        """Whether there is an application that this API has made."""
        return self.owner is not None and _labels(self.owner).get(MANAGED_BY) == MANAGED

    @property
    def uid(self) -> str:
        return str(self.owner["metadata"]["uid"]) if self.owner is not None else ""

    @property
    def change(self) -> str:
        """The id of the change that is under way, or ""."""
        return (self.owner["metadata"].get("annotations") or {}).get(UNDER_WAY, "") if self.owner is not None else ""

    @property
    def foreign(self) -> str | None:
        """The kind of an object of this name that belongs to somebody else."""
        if self.owner is not None and not self.is_ours:
            return "HTTPScaledObject"
        others = (kind for kind, found in self.objects.items() if kind != "HTTPScaledObject" and found is not None)
        return next((kind for kind in others if not self.owns(self.objects[kind])), None)

    def owns(self, found: Json | None) -> bool:
        """Whether an object is owned by the HTTPScaledObject."""
        owners = found["metadata"].get("ownerReferences") or () if found is not None else ()
        return self.owner is not None and any(owner.get("uid") == self.uid for owner in owners)


def complete(document: Document, namespace: str, domain: str) -> Document:
    """The document with a host: NAME.NAMESPACE, below the domain if there is one."""
    if document.hosts:
        return document
    host = ".".join(part for part in (document.name, namespace, domain) if part)
    return document.model_copy(update={"hosts": [host]})


def manifests(document: Document, namespace: str, *, owner_uid: str = "") -> dict[str, Json]:
    """The objects of a complete document, by kind, as they are applied. Without the number of replicas, which is KEDA's."""
    made = {
        "HTTPScaledObject": _http_scaled_object(document),
        "Service": _service(document),
        "Deployment": _deployment(document),
    }
    for kind, manifest in made.items():
        metadata: Json = {
            "name": document.name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": document.name, MANAGED_BY: MANAGED, APP_LABEL: document.name},
        }
        if kind != "HTTPScaledObject" and owner_uid:
            metadata["ownerReferences"] = [_owner(document.name, owner_uid)]
        manifest["metadata"] = metadata
    return made


def document_of(live: Live) -> Document | None:
    """The document that the objects say; None when one is missing, or when they say something that no document can."""
    return None if None in live.objects.values() else partial_document_of(live)


def partial_document_of(live: Live) -> Document | None:
    """The document of an application of which objects may be missing: from it those that exist can be made again as they are.
    None when they say something that no document can."""
    owner, service, deployment = (live.objects[kind] for kind in KINDS)
    if owner is None:
        return None
    try:
        return Document.model_validate(_read(owner, service, deployment))
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration):  # pydantic's error is a ValueError
        return None


def same(one: Document, other: Document) -> bool:
    """Whether two complete documents mean the same: 0.5 is 500m, and API servers write it as they like."""
    return _comparable(one) == _comparable(other)


def amount(quantity: str) -> Decimal:
    """The value of a quantity."""
    digits = quantity.rstrip("mkKMGTi")
    return Decimal(digits) * _SCALE_OF_SUFFIX[quantity[len(digits) :]]


# -- to objects ---------------------------------------------------------------------------------------------------


def _http_scaled_object(document: Document) -> Json:
    metric: Json = {}
    if document.target.concurrency is not None:
        metric["concurrency"] = {"targetValue": document.target.concurrency}
    if document.target.rate is not None:
        metric["requestRate"] = {"targetValue": document.target.rate}
    spec: Json = {
        "hosts": document.hosts,
        "scaleTargetRef": {
            "name": document.name,
            "kind": "Deployment",
            "apiVersion": "apps/v1",
            "service": document.name,
            "port": document.ports[0].port,
        },
        "replicas": {"min": document.replicas.min, "max": document.replicas.max},
        "scaledownPeriod": document.cooldown,
        "scalingMetric": metric,
    }
    if document.paths:
        spec["pathPrefixes"] = document.paths
    if document.schedule:
        spec["schedule"] = [window.model_dump() for window in document.schedule]
    if document.max_busy:
        spec["maxBusy"] = f"{document.max_busy}s"
    if document.depends_on:
        spec["dependsOn"] = [_needed(each) for each in document.depends_on]
    return {"apiVersion": HTTP_SCALED_OBJECTS.api_version, "kind": HTTP_SCALED_OBJECTS.kind, "spec": spec}


def _needed(given: str | Dependency) -> str | Json:
    """A name alone where nothing else is said."""
    needed = _full(given)
    if needed == Dependency(name=needed.name):
        return needed.name
    return {"name": needed.name, "optional": needed.optional, "keepAwake": needed.keep_awake}


def _full(given: str | Dependency) -> Dependency:
    return Dependency(name=given) if isinstance(given, str) else given


def _service(document: Document) -> Json:
    spec = {"selector": {APP_LABEL: document.name}, "ports": [_service_port(port) for port in document.ports]}
    return {"apiVersion": "v1", "kind": "Service", "spec": spec}


def _service_port(port: Port) -> Json:
    made: Json = {"name": port.name, "port": port.port, "targetPort": port.port, "protocol": "TCP"}
    if (app_protocol := _APP_PROTOCOLS[port.protocol]) is not None:
        made["appProtocol"] = app_protocol
    return made


def _deployment(document: Document) -> Json:
    labels = {APP_LABEL: document.name}
    template = {
        "metadata": {"labels": {"app.kubernetes.io/name": document.name, **labels}},
        "spec": {
            "serviceAccountName": document.service_account or DEFAULT_ACCOUNT,
            "automountServiceAccountToken": document.service_account is not None,
            "enableServiceLinks": False,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(document)],
        },
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}


def _container(document: Document) -> Json:
    container: Json = {
        "name": "app",
        "image": document.image,
        "ports": [{"name": port.name, "containerPort": port.port, "protocol": "TCP"} for port in document.ports],
        "readinessProbe": _probe(document) | {"periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 3},
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    if document.command:
        container["command"] = document.command
    if document.args:
        container["args"] = document.args
    if document.environment:
        container["env"] = [_variable(name, value) for name, value in document.environment.items()]
    resources = document.resources.model_dump(exclude_defaults=True)
    if resources:
        container["resources"] = resources
    return container


def _probe(document: Document) -> Json:
    first = document.ports[0]
    if document.health_path is None:
        return {"tcpSocket": {"port": first.port}}
    scheme = "HTTPS" if first.protocol in ("https", "h2") else "HTTP"
    return {"httpGet": {"path": document.health_path, "port": first.port, "scheme": scheme}}


def _variable(name: str, value: str | EnvironmentSource) -> Json:
    if isinstance(value, str):
        return {"name": name, "value": value}
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": value.secret.name, "key": value.secret.key}}}


def _owner(name: str, uid: str) -> Json:
    # Without blockOwnerDeletion: some clusters demand a permission on finalizers for it, and it is only waited for by
    # foreground deletion.
    return {
        "apiVersion": HTTP_SCALED_OBJECTS.api_version,
        "kind": HTTP_SCALED_OBJECTS.kind,
        "name": name,
        "uid": uid,
        "controller": True,
    }


# -- from objects -------------------------------------------------------------------------------------------------


def _read(owner: Json, service: Json | None, deployment: Json | None) -> Json:
    spec = owner["spec"]
    metric = spec.get("scalingMetric") or {}
    return {
        "name": owner["metadata"]["name"],
        "hosts": spec.get("hosts") or [],
        "paths": spec.get("pathPrefixes") or [],
        "replicas": spec.get("replicas") or {},
        "target": {
            name: metric[field]["targetValue"]
            for name, field in (("concurrency", "concurrency"), ("rate", "requestRate"))
            if metric.get(field)
        },
        "cooldown": spec.get("scaledownPeriod", 300),
        "schedule": spec.get("schedule") or [],
        "max_busy": _whole_seconds(spec.get("maxBusy") or "0s"),
        "depends_on": [each if isinstance(each, str) else _read_needed(each) for each in spec.get("dependsOn") or ()],
        **({"image": "missing"} if deployment is None else _read_pod(deployment["spec"]["template"]["spec"])),
        **({} if service is None else {"ports": _ports(spec["scaleTargetRef"]["port"], service["spec"]["ports"])}),
    }


def _read_needed(given: Json) -> Json:
    return {_NEEDED[field]: value for field, value in given.items()}


def _read_pod(pod: Json) -> Json:
    container = next(one for one in pod["containers"] if one["name"] == "app")
    found: Json = {
        "image": container["image"],
        "command": container.get("command") or [],
        "args": container.get("args") or [],
        # Only if there is no Service, which knows more of them.
        "ports": [{"port": one["containerPort"], "name": one.get("name", "http")} for one in container.get("ports") or ()],
        "environment": {one["name"]: _value(one) for one in container.get("env") or ()},
        "resources": {what: found for what, found in (container.get("resources") or {}).items() if found},
        "health_path": ((container.get("readinessProbe") or {}).get("httpGet") or {}).get("path"),
    }
    if pod.get("automountServiceAccountToken", True):
        found["service_account"] = pod.get("serviceAccountName", DEFAULT_ACCOUNT)
    return found


def _ports(first: int, ports: Iterable[Json]) -> list[Json]:
    """The ports of the Service, that of requests first: API servers may put the others before it."""
    found = [
        {"port": one["port"], "name": one.get("name", "http"), "protocol": _PROTOCOLS[one.get("appProtocol")]} for one in ports
    ]
    return sorted(found, key=lambda one: one["port"] != first)


def _value(variable: Json) -> str | Json:
    source = variable.get("valueFrom")
    if source is None:
        return str(variable.get("value", ""))
    return {"secret": {"name": source["secretKeyRef"]["name"], "key": source["secretKeyRef"]["key"]}}


def _whole_seconds(text: str) -> int | float:
    """As a document says it. A document has no parts of seconds, so a number with some is refused by its model."""
    value = seconds(text)
    return int(value) if value.is_integer() else value


def _comparable(document: Document) -> Json:
    values = document.model_dump()
    values["depends_on"] = [_full(each).model_dump() for each in document.depends_on]
    for quantities in values["resources"].values():
        for name, quantity in quantities.items():
            quantities[name] = amount(quantity)
    # Requests go to the first port; the order of the others means nothing, and API servers change it.
    values["ports"][1:] = sorted(values["ports"][1:], key=lambda port: int(port["port"]))
    return values


def _labels(found: Json) -> Json:
    return found["metadata"].get("labels") or {}


def marked(manifest: Json, change: str, *, first: bool) -> Json:
    """An HTTPScaledObject as it is during a change. The first time KEDA waits, as it has nothing to scale yet."""
    annotations = {UNDER_WAY: change, **({SKIP: "true"} if first else {})}
    return manifest | {"metadata": manifest["metadata"] | {"annotations": annotations}}
