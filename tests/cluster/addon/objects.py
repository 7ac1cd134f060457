"""Objects as users of the add-on have them."""

from typing import Any

from tests.cluster.api import Object

__all__ = [
    "PORT",
    "PROXY",
    "PROXY_TLS",
    "SCALER_ADDRESS",
    "SKIP",
    "deployment",
    "http_scaled_object",
    "rate",
    "route",
    "scaled_object",
    "service",
]

PROXY = "keda-add-ons-http-interceptor-proxy.keda:8080"
PROXY_TLS = "keda-add-ons-http-interceptor-proxy.keda:8443"
SCALER_ADDRESS = "keda-add-ons-http-external-scaler.keda:9090"
SKIP = {"httpscaledobject.keda.sh/skip-scaledobject-creation": "true"}
PORT = 8080
WHOAMI = "ghcr.io/traefik/whoami:v1.11.0"
COOLDOWN = 3
"""Seconds; 10 in the add-on's tests."""


def deployment(name: str, *, replicas: int = 0, kind: str = "Deployment", image: str = WHOAMI, secret: str = "") -> Object:
    """Its app reports NAME as its host name, not the pod's, and speaks TLS with the certificate of a Secret if there is one. A
    StatefulSet is the same, with the Service of its name."""
    port = str(PORT)
    check = {"tcpSocket": {"port": PORT}} if image != WHOAMI else _health("HTTPS" if secret else "HTTP")
    container = {
        "name": name,
        "image": image,
        "args": ["--verbose"],
        "env": [{"name": "PORT", "value": port}, {"name": "WHOAMI_PORT_NUMBER", "value": port}],
        "ports": [{"containerPort": PORT}],
        "livenessProbe": {**check, "periodSeconds": 5, "failureThreshold": 3},
        "readinessProbe": {**check, "periodSeconds": 1, "failureThreshold": 3},
    }
    labels = {"app": name}
    pod: Object = {"hostname": name, "containers": [container]}
    if secret:
        container["args"] = ["--verbose", "--cert=/etc/certs/tls.crt", "--key=/etc/certs/tls.key"]
        container["volumeMounts"] = [{"name": "certs", "mountPath": "/etc/certs", "readOnly": True}]
        pod["volumes"] = [{"name": "certs", "secret": {"secretName": secret}}]
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def service(name: str, *, port_name: str = "", app_protocol: str = "") -> Object:
    port: Object = {"port": PORT, "targetPort": PORT} | ({"name": port_name} if port_name else {})
    if app_protocol:
        port["appProtocol"] = app_protocol
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [port]}}


def route(name: str, app: str, **spec: Any) -> Object:
    """An InterceptorRoute to the Service of an app; `spec` replaces the default fields."""
    timeouts = {"readiness": "60s", **spec.pop("timeouts", {})}
    fields = {
        "target": {"service": app, "port": PORT},
        "timeouts": timeouts,
        "scalingMetric": {"concurrency": {"targetValue": 100}},
    }
    return {"apiVersion": "http.keda.sh/v1beta1", "kind": "InterceptorRoute", "metadata": {"name": name}, "spec": fields | spec}


def rate(target: int) -> Object:
    """A scalingMetric with a target of requests per second, over ten seconds."""
    return {"requestRate": {"targetValue": target, "window": "10s"}}


def scaled_object(name: str, app: str, **spec: Any) -> Object:
    """A ScaledObject with one replica, or zero when idle; `spec` may also have the trigger's metadata."""
    metadata = {"scalerAddress": SCALER_ADDRESS, **spec.pop("metadata", {})}
    fields = {
        "scaleTargetRef": {"name": app},
        "minReplicaCount": 1,
        "maxReplicaCount": 1,
        "idleReplicaCount": 0,
        "cooldownPeriod": COOLDOWN,
        "pollingInterval": 5,
        "triggers": [{"type": "external-push", "metadata": metadata}],
    }
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name}, "spec": fields | spec}


def http_scaled_object(name: str, app: str, **spec: Any) -> Object:
    target = {"name": app, "service": app, "port": PORT}
    fields = {"scaleTargetRef": target, "scaledownPeriod": COOLDOWN, "replicas": {"min": 0, "max": 1}}
    return {"apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject", "metadata": {"name": name}, "spec": fields | spec}


def _health(scheme: str) -> Object:
    return {"httpGet": {"path": "/health", "port": PORT, "scheme": scheme}}
