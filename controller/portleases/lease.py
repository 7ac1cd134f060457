"""The lease of a port as an object of the cluster, and what it says. Pure.

Leases are coordination.k8s.io Leases in Weir's namespace. The name of one is its protocol and its port, so that the API server
refuses the second of two that are created at once, on whichever controllers. All entries lead to the same interceptors, which
listen by number: that is why the entry is not part of the name, and a port is one application's at all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from controller.resources import Key
from fleet.defaults import PORT_LIMIT
from fleet.routing.port import TRANSPORTS
from fleet.routing.port_index import PortKey
from fleet.runtime.terminal import one_line

__all__ = [
    "LABEL",
    "NAMESPACE_LABEL",
    "Holder",
    "PortLease",
    "key_of",
    "manifest",
    "name_of",
    "parse_lease",
    "patch",
]

LABEL = "weir.dev/port-lease"
NAMESPACE_LABEL = "weir.dev/port-namespace"
"""Label with the namespace whose port it is."""
_CALLED, _ENTRY, _BY_ROUTE, _USER = (f"weir.dev/port-{word}" for word in ("name", "entry", "of-route", "leased-by"))
_KIND, _APP, _UID = (f"weir.dev/port-{word}" for word in ("kind", "app", "app-uid"))
MAX_USER = 256
"""Characters of the name of a user that are kept."""
_PREFIX = "weir-port"
_NAME = re.compile(rf"(?:{_PREFIX}-)?(tcp|udp)-([1-9][0-9]{{0,4}})")


class Holder(msgspec.Struct, frozen=True):
    """The object that a port is for."""

    key: Key
    uid: str
    api_version: str


class PortLease(msgspec.Struct, frozen=True):
    """A port that is somebody's."""

    port: PortKey
    namespace: str
    name: str
    """What routes of that namespace call it."""
    holder: Key | None = None
    """The object that it is for; None while there is none."""
    holder_uid: str = ""
    entry: str = ""
    """The Service that leads there, "namespace/name"."""
    by_route: bool = False
    """It was made because a route names it, and ends when the route does not any more."""
    user: str = ""
    until: float | None = None
    """Seconds since the epoch: when it ends, if nothing uses it until then."""
    created: str = ""
    uid: str = ""
    version: str = ""
    """Its resourceVersion."""

    @property
    def id(self) -> str:
        """By which it is named in calls."""
        return _words(self.port)

    @property
    def owner(self) -> str:
        """Whose it is, for people."""
        return str(self.holder) if self.holder is not None else f"lease {self.name} of namespace {self.namespace}"

    def is_over(self, now: float) -> bool:
        return self.until is not None and self.until <= now


def _words(port: PortKey) -> str:
    return f"{port.protocol.lower()}-{port.port}"


def name_of(port: PortKey) -> str:
    """The name of the object."""
    return f"{_PREFIX}-{_words(port)}"


def key_of(text: str) -> PortKey | None:
    """The port of an object's name, or of "tcp-20000"; None if there is none."""
    found = _NAME.fullmatch(text)
    if found is None or not int(found[2]) <= PORT_LIMIT or found[1].upper() not in TRANSPORTS:
        return None
    return PortKey(found[1].upper(), int(found[2]))


def manifest(wanted: PortLease, namespace: str, holder: Holder | None, now: float) -> dict[str, Any]:
    """The object to create, in Weir's namespace."""
    labels = {"app.kubernetes.io/part-of": "weir", LABEL: "true", NAMESPACE_LABEL: wanted.namespace}
    annotations = {
        _CALLED: wanted.name,
        _ENTRY: wanted.entry,
        _USER: one_line(wanted.user)[:MAX_USER],
        **({_BY_ROUTE: "true"} if wanted.by_route else {}),
        **_held_by(holder),
    }
    metadata: dict[str, Any] = {
        "name": name_of(wanted.port),
        "namespace": namespace,
        "labels": labels,
        "annotations": annotations,
        **_owned(holder, namespace),
    }
    spec: dict[str, Any] = {"acquireTime": _micro(now), "renewTime": _micro(now)}
    if holder is not None:
        spec["holderIdentity"] = str(holder.key)
    elif wanted.until is not None:
        spec["leaseDurationSeconds"] = max(1, round(wanted.until - now))
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def patch(lease: PortLease, namespace: str, holder: Holder | None, *, until: float | None, now: float) -> dict[str, Any]:
    """A merge patch that gives the lease to this object, or to nobody until a time. It fails if the lease has changed."""
    annotations: dict[str, Any] = {_KIND: None, _APP: None, _UID: None, **_held_by(holder)}
    metadata: dict[str, Any] = {"uid": lease.uid, "resourceVersion": lease.version, "annotations": annotations}
    metadata["ownerReferences"] = _owned(holder, namespace).get("ownerReferences")
    spec: dict[str, Any] = {"renewTime": _micro(now), "leaseDurationSeconds": None, "holderIdentity": None}
    if holder is not None:
        spec["holderIdentity"] = str(holder.key)
    elif until is not None:
        spec["leaseDurationSeconds"] = max(1, round(until - now))
    return {"metadata": metadata, "spec": spec}


def _held_by(holder: Holder | None) -> dict[str, str]:
    return {} if holder is None else {_KIND: holder.key.kind, _APP: holder.key.name, _UID: holder.uid}


def _owned(holder: Holder | None, namespace: str) -> dict[str, Any]:
    """An owner is in the namespace of what it owns: a reference to one elsewhere makes the cluster delete the object at once.
    Ports of other namespaces are freed by the controller."""
    if holder is None or holder.key.namespace != namespace:
        return {}
    reference = {"apiVersion": holder.api_version, "kind": holder.key.kind, "name": holder.key.name, "uid": holder.uid}
    return {"ownerReferences": [reference]}


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    lease_duration_seconds: int | None = None
    renew_time: str | None = None


class _Lease(msgspec.Struct, frozen=True):
    metadata: _Meta
    spec: _Spec = _Spec()


def parse_lease(data: bytes | msgspec.Raw) -> PortLease:
    """Raises ValueError for an object that is about no port. One whose labels somebody has changed keeps its port from others."""
    found = msgspec.json.decode(data, type=_Lease)
    meta, said = found.metadata, found.metadata.annotations or {}
    port = key_of(meta.name)
    if port is None or not meta.name.startswith(_PREFIX):
        raise ValueError(f"{meta.name} is the name of no lease of a port")
    namespace = (meta.labels or {}).get(NAMESPACE_LABEL, "")
    return PortLease(
        port=port,
        namespace=namespace,
        name=said.get(_CALLED, ""),
        holder=_holder(namespace, said),
        holder_uid=said.get(_UID, ""),
        entry=said.get(_ENTRY, ""),
        by_route=said.get(_BY_ROUTE) == "true",
        user=said.get(_USER, ""),
        until=_end(found.spec),
        created=meta.creation_timestamp or "",
        uid=meta.uid,
        version=meta.resource_version,
    )


def _holder(namespace: str, said: Mapping[str, str]) -> Key | None:
    return Key(said[_KIND], namespace, said[_APP]) if _KIND in said and _APP in said else None


def _end(spec: _Spec) -> float | None:
    """When it ends; None if it does not, or says it so that it cannot be read."""
    if spec.lease_duration_seconds is None or spec.renew_time is None:
        return None
    try:
        return datetime.fromisoformat(spec.renew_time).timestamp() + spec.lease_duration_seconds
    except (ValueError, OverflowError):
        return None


def _micro(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
