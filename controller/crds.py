"""Generates the CustomResourceDefinitions from the structs of controller/schema. Pure; tools/crds.py writes them to deploy/crds.

Field rules are declared only in the structs; this module translates them to OpenAPI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from controller.schema.http_scaled_object import HTTPScaledObjectSpec, HTTPScaledObjectStatus
from controller.schema.interceptor_route import InterceptorRouteSpec, InterceptorRouteStatus
from controller.schema.preview import PreviewSpec, PreviewStatus

__all__ = ["GROUP", "HTTP_SCALED_OBJECTS", "INTERCEPTOR_ROUTES", "PREVIEWS", "Kind", "definitions"]

GROUP = "http.keda.sh"
OWN_GROUP = "weir.dev"
"""Of kinds that the add-on has not."""

Json = dict[str, Any]


class Kind(msgspec.Struct, frozen=True):
    """A kind of custom resource, with its API group, version and names."""

    kind: str
    version: str
    plural: str
    short: tuple[str, ...] = ()
    group: str = GROUP

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"


HTTP_SCALED_OBJECTS = Kind("HTTPScaledObject", "v1alpha1", "httpscaledobjects", ("httpso",))
INTERCEPTOR_ROUTES = Kind("InterceptorRoute", "v1beta1", "interceptorroutes", ())
PREVIEWS = Kind("Preview", "v1alpha1", "previews", (), OWN_GROUP)


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_STORY: tuple[Json, ...] = (
    {"name": "Ready", "type": "string", "jsonPath": _condition("Ready")},
    {"name": "Reason", "type": "string", "jsonPath": _condition("Ready", "reason")},
    {"name": "Reachable", "type": "string", "jsonPath": _condition("Reachable")},
    {"name": "Propagated", "type": "string", "jsonPath": _condition("RoutesPropagated")},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Conflict", "type": "string", "jsonPath": _condition("Conflict"), "priority": 1},
    {"name": "ScaledBy", "type": "string", "jsonPath": ".status.scaledBy", "priority": 1},
    {"name": "Message", "type": "string", "jsonPath": _condition("Ready", "message"), "priority": 1},
    {"name": "Schedule", "type": "string", "jsonPath": _condition("Scheduled", "message"), "priority": 1},
    {"name": "Busy", "type": "string", "jsonPath": _condition("Busy"), "priority": 1},
    {"name": "Needed", "type": "string", "jsonPath": _condition("Needed", "message"), "priority": 1},
    {"name": "Reachability", "type": "string", "jsonPath": _condition("Reachable", "message"), "priority": 1},
)
_HTTP_COLUMNS: tuple[Json, ...] = (
    {"name": "TargetWorkload", "type": "string", "jsonPath": ".status.targetWorkload"},
    {"name": "TargetService", "type": "string", "jsonPath": ".status.targetService"},
    {"name": "MinReplicas", "type": "integer", "jsonPath": ".spec.replicas.min"},
    {"name": "MaxReplicas", "type": "integer", "jsonPath": ".spec.replicas.max"},
    *_STORY,
    {"name": "Hosts", "type": "string", "jsonPath": ".status.hosts", "priority": 1},
)
_ROUTE_COLUMNS: tuple[Json, ...] = (
    {"name": "Hosts", "type": "string", "jsonPath": ".status.hosts"},
    {"name": "TargetService", "type": "string", "jsonPath": ".status.targetService"},
    {"name": "ScaledBy", "type": "string", "jsonPath": ".status.scaledBy"},
    *(column for column in _STORY if column["name"] != "ScaledBy"),
)


_PREVIEW_COLUMNS: tuple[Json, ...] = (
    {"name": "Base", "type": "string", "jsonPath": ".spec.base"},
    {"name": "Name", "type": "string", "jsonPath": ".status.name"},
    {"name": "Hosts", "type": "string", "jsonPath": ".status.hosts"},
    {"name": "Ready", "type": "string", "jsonPath": _condition("Ready")},
    {"name": "Reason", "type": "string", "jsonPath": _condition("Ready", "reason")},
    {"name": "LastUsed", "type": "date", "jsonPath": ".status.lastUsed"},
    {"name": "Expires", "type": "string", "jsonPath": ".status.expiresAt"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Message", "type": "string", "jsonPath": _condition("Ready", "message"), "priority": 1},
)


def definitions() -> Mapping[str, Json]:
    """Each definition by its file name."""
    return {
        f"{GROUP}_{HTTP_SCALED_OBJECTS.plural}.yaml": _definition(
            HTTP_SCALED_OBJECTS, HTTPScaledObjectSpec, HTTPScaledObjectStatus, _HTTP_COLUMNS, required=()
        ),
        f"{GROUP}_{INTERCEPTOR_ROUTES.plural}.yaml": _definition(
            INTERCEPTOR_ROUTES, InterceptorRouteSpec, InterceptorRouteStatus, _ROUTE_COLUMNS
        ),
        f"{PREVIEWS.group}_{PREVIEWS.plural}.yaml": _definition(PREVIEWS, PreviewSpec, PreviewStatus, _PREVIEW_COLUMNS),
    }


def _definition(
    kind: Kind, spec: type, status: type, columns: tuple[Json, ...], *, required: tuple[str, ...] = ("spec",)
) -> Json:
    """`required` are the required top-level fields. An HTTPScaledObject may lack a spec, because the add-on accepts that."""
    names: Json = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "categories": ["keda" if kind.group == GROUP else "weir"],
    }
    if kind.short:
        names["shortNames"] = list(kind.short)
    version: Json = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [dict(column) for column in columns],
        "schema": {"openAPIV3Schema": _object(spec, status, required)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {"group": kind.group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _object(spec: type, status: type, required: tuple[str, ...]) -> Json:
    return {
        "type": "object",
        "description": _doc(spec),
        **({"required": list(required)} if required else {}),
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _schema(inspect.type_info(spec)),
            "status": _schema(inspect.type_info(status)),
        },
    }


def _doc(cls: type) -> str:
    """The first line of a class's docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0]


def _schema(info: inspect.Type) -> Json:
    match info:
        case inspect.Metadata():
            # a value of None removes the key
            return {key: said for key, said in (_schema(info.type) | (info.extra_json_schema or {})).items() if said is not None}
        case inspect.UnionType():
            return _union([option for option in info.types if not isinstance(option, inspect.NoneType)])
        case inspect.IntType() | inspect.StrType() | inspect.LiteralType() | inspect.BoolType():
            return _scalar(info)
        case _:
            return _collection(info)


def _union(options: list[inspect.Type]) -> Json:
    """An optional value, or a number or a text, or an object or a text: other unions have no structural schema."""
    if len(options) == 1:
        return _schema(options[0])
    if any(isinstance(option, inspect.StructType) for option in options):
        return {}  # an object or a text: what is said beside it makes it structural
    number, text = sorted((_schema(option) for option in options), key=lambda schema: str(schema["type"]))
    if (number.pop("type"), text.pop("type")) != ("integer", "string"):
        raise TypeError(f"no schema for {options}")
    number.pop("format")
    return {"anyOf": [{"type": "integer"}, {"type": "string"}]} | number | text


def _scalar(info: inspect.IntType | inspect.StrType | inspect.LiteralType | inspect.BoolType) -> Json:
    match info:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.LiteralType():
            return {"type": "string", "enum": list(info.values)}
        case inspect.IntType():
            return {"type": "integer", "format": "int32"} | _given(minimum=info.ge, maximum=info.le)
        case inspect.StrType():
            return {"type": "string"} | _given(minLength=info.min_length, maxLength=info.max_length, pattern=info.pattern)


def _collection(info: inspect.Type) -> Json:
    match info:
        case inspect.AnyType():
            return {}
        case inspect.StructType():
            return _struct(info)
        case inspect.VarTupleType():
            items = _schema(info.item_type)
            return {"type": "array", "items": items} | _given(minItems=info.min_length, maxItems=info.max_length)
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _schema(info.value_type)}
    raise TypeError(f"no schema for {info}")


def _struct(info: inspect.StructType) -> Json:
    schema: Json = {"type": "object", "description": _doc(info.cls)}
    required = [field.encode_name for field in info.fields if field.required]
    if required:
        schema["required"] = required
    schema["properties"] = {field.encode_name: _field(field) for field in info.fields}
    rules = getattr(info.cls, "cel", ())
    if rules:
        schema["x-kubernetes-validations"] = [{"rule": rule.rule, "message": rule.message} for rule in rules]
    return schema


def _field(field: inspect.Field) -> Json:
    schema = _schema(field.type)
    # An empty default only means that the field is optional.
    if field.default is not NODEFAULT and field.default not in (None, (), "", 0):
        schema["default"] = field.default
    return schema


def _given(**limits: object) -> Json:
    return {name: limit for name, limit in limits.items() if limit is not None}
