"""Custom resources, parsed once into frozen values.

Parsing never fails for an invalid object: the result is a Resource that contains the problem, which is reported in the object's
status; routes of other objects are unaffected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from controller.answers import Reference
from controller.authorities import AuthorityReference
from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES, Kind
from controller.ports import AskedPort
from controller.problem import Problem
from controller.schema.common import Condition
from controller.schema.http_scaled_object import HTTPScaledObjectSpec, HTTPScaledObjectStatus
from controller.schema.interceptor_route import InterceptorRouteSpec
from controller.schema.previews import PreviewOf
from controller.translate import Translation, of_http_scaled_object, of_interceptor_route
from fleet.routing.route import Route
from fleet.schedules.windows import Schedule

__all__ = ["Asked", "Key", "ObjectMeta", "OwnerReference", "Resource", "parse_http_scaled_object", "parse_interceptor_route"]

Spec = TypeVar("Spec", HTTPScaledObjectSpec, InterceptorRouteSpec)


class Key(msgspec.Struct, frozen=True, order=True):
    """Identifies an object: kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    @property
    def app(self) -> str:
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class OwnerReference(msgspec.Struct, frozen=True, rename="camel"):
    """An owner reference of an object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of an object's metadata that the controller reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: tuple[str, ...] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None

    @property
    def created(self) -> float:
        """Seconds since the epoch."""
        return datetime.fromisoformat(self.creation_timestamp).timestamp() if self.creation_timestamp else 0.0

    @property
    def deleted(self) -> float:
        """When its deletion was asked for, in seconds since the epoch."""
        return datetime.fromisoformat(self.deletion_timestamp).timestamp() if self.deletion_timestamp else 0.0

    @property
    def deleting(self) -> bool:
        return self.deletion_timestamp is not None

    def annotated(self, name: str) -> bool:
        """Whether the annotation is "true"."""
        return (self.annotations or {}).get(name) == "true"


class Asked(NamedTuple):
    """A route, and what it still needs."""

    route: Route
    references: tuple[Reference, ...] = ()
    """Bodies of its answers."""
    authorities: tuple[AuthorityReference, ...] = ()
    """Authorities of its backends."""
    ports: tuple[AskedPort, ...] = ()
    """Those that leases decide on."""
    preview_of: PreviewOf | None = None
    """The object in whose entry it is."""


class Resource(msgspec.Struct, frozen=True):
    """A custom resource: its route or its problem, and its current status."""

    kind: Kind
    meta: ObjectMeta
    spec: HTTPScaledObjectSpec | InterceptorRouteSpec | None
    route: Route | None
    problem: Problem | None
    references: tuple[Reference, ...]
    """Bodies that the route still needs."""
    status: HTTPScaledObjectStatus
    authorities: tuple[AuthorityReference, ...] = ()
    """Authorities that the route still needs."""
    ignored: tuple[Problem, ...] = ()
    """Fields that are ignored, and the values used instead; the route is served without them."""
    schedules: tuple[Schedule, ...] = ()
    """Minimum replicas by the clock."""
    ports: tuple[AskedPort, ...] = ()
    """On which interceptors listen for it, as far as leases permit."""

    @property
    def key(self) -> Key:
        return Key(self.kind.kind, self.meta.namespace, self.meta.name)

    @property
    def asked(self) -> Asked | None:
        """What a table is made of."""
        copy = None if self.spec is None else self.spec.preview_of
        return None if self.route is None else Asked(self.route, self.references, self.authorities, self.ports, copy)

    @property
    def conditions(self) -> Mapping[str, Condition]:
        return {condition.type: condition for condition in self.status.conditions}


def parse_http_scaled_object(data: bytes | msgspec.Raw) -> Resource:
    """An HTTPScaledObject from the API server's JSON. Raises ValueError when it is not a Kubernetes object at all."""
    return _parse(data, HTTP_SCALED_OBJECTS, HTTPScaledObjectSpec, of_http_scaled_object)


def parse_interceptor_route(data: bytes | msgspec.Raw) -> Resource:
    """An InterceptorRoute from the API server's JSON. Raises ValueError when it is not a Kubernetes object at all."""
    return _parse(data, INTERCEPTOR_ROUTES, InterceptorRouteSpec, of_interceptor_route)


def _parse(
    data: bytes | msgspec.Raw, kind: Kind, spec_type: type[Spec], translate: Callable[[ObjectMeta, Spec], Translation]
) -> Resource:
    raw: dict[str, Any] = msgspec.json.decode(data)
    meta = msgspec.convert(raw.get("metadata"), ObjectMeta)
    status = _status(raw.get("status"))
    try:
        spec = msgspec.convert(raw.get("spec") or {}, spec_type)
    except msgspec.ValidationError as error:
        return Resource(kind, meta, None, None, Problem.of(error), (), status)
    try:
        translation = translate(meta, spec)
    except Problem as problem:
        return Resource(kind, meta, spec, None, problem, (), status)
    return Resource(
        kind,
        meta,
        spec,
        translation.route,
        None,
        translation.references,
        status,
        translation.authorities,
        translation.ignored,
        translation.schedules,
        translation.ports,
    )


def _status(raw: object) -> HTTPScaledObjectStatus:
    """The status; empty if it cannot be decoded, for example because another version wrote it: then it is written anew."""
    try:
        return msgspec.convert(raw or {}, HTTPScaledObjectStatus)
    except msgspec.ValidationError:
        return HTTPScaledObjectStatus()
