"""What the KEDA HTTP add-on (0.16) accepts in its two custom resources: fields, types, bounds, rules.

In a form of its own, from which a schema, a definition for a real API server and a corpus of objects are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["HTTP_SCALED_OBJECT", "INTERCEPTOR_ROUTE", "Schema", "definition"]

Schema = dict[str, Any]
"""A structural schema. The key "sample" has a usual value, and is not part of the schema for an API server."""


def text(sample: str = "a", **bounds: Any) -> Schema:
    return {"type": "string", "sample": sample, **bounds}


def number(sample: int = 5, **bounds: Any) -> Schema:
    return {"type": "integer", "format": "int32", "sample": sample, **bounds}


def unbounded(sample: int = 5, **bounds: Any) -> Schema:
    return {"type": "integer", "sample": sample, **bounds}


def many(items: Schema, kind: str = "", **bounds: Any) -> Schema:
    listed: Schema = {"x-kubernetes-list-type": kind} if kind else {}
    if kind == "map":
        listed["x-kubernetes-list-map-keys"] = ["name"]
    return {"type": "array", "items": items, **listed, **bounds}


def fields(required: str = "", cel: tuple[str, ...] = (), **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required.split()
    if cel:
        schema["x-kubernetes-validations"] = [{"rule": rule} for rule in cel]
    return schema


ONE_PORT = ("has(self.port) != has(self.portName)",)
HEADERS = many(fields("name", name=text("X-Tenant", minLength=1), value=text("blue")), "map")

# HTTPScaledObject, v1alpha1

_OPEN_PORTS = {"port": number(80), "portName": text("http")}

HTTP_SCALED_OBJECT = fields(
    spec=fields(
        "scaleTargetRef",
        hosts=many(text("web.example.com")),
        pathPrefixes=many(text("/api")),
        headers=HEADERS,
        scaleTargetRef=fields(
            "service",
            ONE_PORT,
            name=text("web"),
            apiVersion=text("apps/v1"),
            kind=text("Deployment"),
            service=text("web"),
            **_OPEN_PORTS,
        ),
        coldStartTimeoutFailoverRef=fields(
            "service", ONE_PORT, service=text("sorry"), **_OPEN_PORTS, timeoutSeconds=number(30, default=30)
        ),
        replicas=fields(min=number(0), max=number(9)),
        targetPendingRequests=number(100),
        scaledownPeriod=number(300),
        initialCooldownPeriod=number(0),
        scalingMetric=fields(
            concurrency=fields(targetValue=unbounded(100, default=100)),
            requestRate=fields(
                targetValue=unbounded(100, default=100), window=text("1m", default="1m"), granularity=text("1s", default="1s")
            ),
        ),
        timeouts=fields(conditionWait=text("20s"), responseHeader=text("30s")),
    ),
)  # fmt: skip

# InterceptorRoute, v1beta1

_PORTS = {"port": number(80, minimum=1, maximum=65535), "portName": text("http", minLength=1)}

_RULE = fields(
    hosts=many(text("web.example.com"), "set"),
    paths=many(fields("value", value=text("/api", minLength=1)), "atomic"),
    headers=HEADERS,
)
_RESPONSE = fields(
    cel=("!(has(self.body) && has(self.bodyFromConfigMap))",),
    statusCode=number(503, minimum=100, maximum=599),
    body=text("later", maxLength=32768),
    bodyFromConfigMap=fields("name", name=text("pages", minLength=1), key=text("index.html")),
    headers={"type": "object", "additionalProperties": text("5")},
)

INTERCEPTOR_ROUTE = fields(
    "spec",
    spec=fields(
        "target scalingMetric",
        target=fields("service", ONE_PORT, service=text("web", minLength=1), **_PORTS),
        rules=many(_RULE, "atomic"),
        scalingMetric=fields(
            "",
            ("has(self.concurrency) || has(self.requestRate)",),
            concurrency=fields("targetValue", targetValue=number(100, minimum=1)),
            requestRate=fields(
                "targetValue",
                targetValue=number(100, minimum=1),
                window=text("1m", default="1m"),
                granularity=text("1s", default="1s"),
            ),
        ),
        coldStart=fields(
            "",
            (
                "has(self.fallback) || has(self.placeholder) || has(self.maxPendingRequests)",
                "!has(self.overflow) || self.overflow != 'Placeholder' || has(self.placeholder)",
            ),
            fallback=fields("service", service=fields("name", ONE_PORT, name=text("sorry", minLength=1), **_PORTS)),
            placeholder=fields("response", response=_RESPONSE),
            maxPendingRequests=number(500, minimum=1),
            overflow=text("Reject", enum=["Placeholder", "Reject"]),
        ),
        timeouts=fields(readiness=text("20s"), request=text("1m"), responseHeader=text("30s")),
        staticRoutes=many(
            fields(
                "response rules",
                response=_RESPONSE,
                responseMode=text("Always", enum=["Always", "WhenUnavailable"], default="WhenUnavailable"),
                rules=many(_RULE, "atomic", minItems=1),
            ),
            "atomic",
        ),
    ),
)  # fmt: skip


def definition(kind: str, group: str, schema: Schema) -> Schema:
    """A CustomResourceDefinition with this schema, in the given group and version v1."""
    plural = f"{kind.lower()}s"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": _plain(schema)}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _plain(schema: Mapping[str, Any]) -> Schema:
    """The schema without samples."""
    plain = {key: value for key, value in schema.items() if key != "sample"}
    if "properties" in plain:
        plain["properties"] = {name: _plain(inner) for name, inner in plain["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in plain:
            plain[key] = _plain(plain[key])
    return plain
