"""Custom resources as an API server returns them, for tests."""

import json
from typing import Any

from controller.autoscalers import ScaledObject, parse_scaled_object
from controller.resources import Resource, parse_http_scaled_object, parse_interceptor_route

__all__ = ["CREATED", "http", "raw", "route", "scaled"]

CREATED = "2026-01-01T00:00:00Z"


def raw(name: str = "web", namespace: str = "shop", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1, "creationTimestamp": CREATED}
    metadata |= fields.pop("metadata", {})
    return {"metadata": metadata, **fields}


def http(name: str = "web", namespace: str = "shop", *, metadata: Any = None, status: Any = None, **spec: Any) -> Resource:
    target = {"name": name, "service": name, "port": 80}
    fields = {"spec": {"hosts": [f"{name}.example.com"], "scaleTargetRef": target, **spec}, "metadata": metadata or {}}
    return parse_http_scaled_object(json.dumps(raw(name, namespace, status=status, **fields)).encode())


def route(name: str = "web", namespace: str = "shop", *, metadata: Any = None, status: Any = None, **spec: Any) -> Resource:
    whole = {
        "target": {"service": name, "port": 80},
        "rules": [{"hosts": [f"{name}.example.com"]}],
        "scalingMetric": {"concurrency": {"targetValue": 5}},
        **spec,
    }
    return parse_interceptor_route(json.dumps(raw(name, namespace, status=status, metadata=metadata or {}, spec=whole)).encode())


def scaled(
    made: dict[str, Any], *, uid: str = "uid-scaled", ready: str = "True", message: str = "told by KEDA", **metadata: Any
) -> ScaledObject:
    """A ScaledObject with these fields that KEDA has processed."""
    status = {"conditions": [{"type": "Ready", "status": ready, "message": message}]}
    whole = made | {"metadata": made["metadata"] | {"uid": uid} | metadata, "status": status}
    return parse_scaled_object(json.dumps(whole).encode())
