"""Custom resources, parsed once at the edge into frozen values.

Whatever an object holds, parsing gives a Resource: what is wrong with it is kept beside it, to be told in its own status,
and nobody else's route is concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from controller.answers import Reference
from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES, Kind
from controller.problem import Problem
from controller.schema.common import Condition
from controller.schema.http_scaled_object import HTTPScaledObjectSpec, HTTPScaledObjectStatus
from controller.schema.interceptor_route import InterceptorRouteSpec
from controller.translate import Translation, of_http_scaled_object, of_interceptor_route
from fleet.routing.route import Route

__all__ = ["Asked", "Key", "ObjectMeta", "OwnerReference", "Resource", "parse_http_scaled_object", "parse_interceptor_route"]

Spec = TypeVar("Spec", HTTPScaledObjectSpec, InterceptorRouteSpec)


class Key(msgspec.Struct, frozen=True, order=True):
    """Which object: kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    @property
    def app(self) -> str:
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class OwnerReference(msgspec.Struct, frozen=True, rename="camel"):
    """An object without which another is removed."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    """What the controller reads of an object's metadata."""

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
    def deleting(self) -> bool:
        return self.deletion_timestamp is not None

    def annotated(self, name: str) -> bool:
        """Whether the annotation says "true"."""
        return (self.annotations or {}).get(name) == "true"


Asked = tuple[Route, tuple[Reference, ...]]
"""A route, and the bodies that it still needs."""


class Resource(msgspec.Struct, frozen=True):
    """A custom resource: what it asks for as a route, or what is wrong with it, and the status it has."""

    kind: Kind
    meta: ObjectMeta
    spec: HTTPScaledObjectSpec | InterceptorRouteSpec | None
    route: Route | None
    problem: Problem | None
    references: tuple[Reference, ...]
    """Bodies that the route still needs."""
    status: HTTPScaledObjectStatus
    ignored: tuple[Problem, ...] = ()
    """Fields that mean nothing, and what holds instead: the route is served without them."""

    @property
    def key(self) -> Key:
        return Key(self.kind.kind, self.meta.namespace, self.meta.name)

    @property
    def asked(self) -> Asked | None:
        """What a table is made of."""
        return None if self.route is None else (self.route, self.references)

    @property
    def conditions(self) -> Mapping[str, Condition]:
        return {condition.type: condition for condition in self.status.conditions}


def parse_http_scaled_object(data: bytes | msgspec.Raw) -> Resource:
    """An HTTPScaledObject as the API server gave it. Raises ValueError for what is no object at all."""
    return _parse(data, HTTP_SCALED_OBJECTS, HTTPScaledObjectSpec, of_http_scaled_object)


def parse_interceptor_route(data: bytes | msgspec.Raw) -> Resource:
    """An InterceptorRoute as the API server gave it. Raises ValueError for what is no object at all."""
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
    return Resource(kind, meta, spec, translation.route, None, translation.references, status, translation.ignored)


def _status(raw: object) -> HTTPScaledObjectStatus:
    """A status that another version wrote, or another controller, is as good as none: it is written anew."""
    try:
        return msgspec.convert(raw or {}, HTTPScaledObjectStatus)
    except msgspec.ValidationError:
        return HTTPScaledObjectStatus()
