"""Ports that are written into deploy/ as numbers, against the defaults of the settings: no overlay has to be built for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.settings import ControllerSettings
from fleet.runtime.settings import ComponentSettings
from interceptor.settings import InterceptorSettings
from scaler.settings import ScalerSettings
from tests.support.manifests import DEPLOY, Object, container, read

PORTS: dict[str, dict[str, str]] = {
    "interceptor": {"http": "proxy_port", "rpc": "rpc_port", "diagnostics": "diagnostics_port"},
    "scaler": {"grpc": "port", "diagnostics": "diagnostics_port"},
    "controller": {"diagnostics": "diagnostics_port"},
}
SETTINGS: dict[str, type[ComponentSettings]] = {
    "interceptor": InterceptorSettings,
    "scaler": ScalerSettings,
    "controller": ControllerSettings,
}
SERVED = {
    "weir-interceptor": ("interceptor", "http"),
    "weir-interceptor-rpc": ("interceptor", "rpc"),
    "weir-scaler": ("scaler", "grpc"),
}
"""What each Service leads to."""
ADDRESS = re.compile(r"\b(weir-(?:interceptor(?:-rpc)?|scaler))(?:[.][\w.$()-]+)?:(\d+)\b")
FILES = sorted(path for path in DEPLOY.rglob("*") if path.suffix == ".yaml" and "local" not in path.parts)


def number(component: str, port: str) -> int:
    found: int = SETTINGS[component].model_fields[PORTS[component][port]].default
    return found


def one(component: str, kind: str) -> Object:
    (found,) = (each for each in read(DEPLOY / "base" / component / "deployment.yaml") if each["kind"] == kind)
    return found


@pytest.mark.parametrize("component", PORTS)
def test_containers_listen_where_the_settings_say(component: str) -> None:
    workload = one(component, "Deployment")
    ports = {port["name"]: port["containerPort"] for port in container(workload)["ports"]}
    assert ports == {name: number(component, name) for name in PORTS[component]}
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(number(component, "diagnostics"))


def test_services_have_the_ports_that_they_lead_to() -> None:
    services = {
        service["metadata"]["name"]: service["spec"]["ports"]
        for component in ("interceptor", "scaler")
        for service in read(DEPLOY / "base" / component / "services.yaml")
    }
    assert {name: [(port["port"], port["targetPort"]) for port in ports] for name, ports in services.items()} == {
        name: [(number(component, port), port)] for name, (component, port) in SERVED.items()
    }


def test_addresses_name_the_ports_of_their_services() -> None:
    found = [(name, int(port)) for path in FILES for name, port in ADDRESS.findall(path.read_text())]
    assert len(found) > 5
    assert set(found) <= {(name, number(*led)) for name, led in SERVED.items()}


def test_a_gateway_leads_to_the_proxy() -> None:
    """An Ingress names the port."""
    routes = [each for each in read(DEPLOY / "examples" / "kubernetes" / "gateway.yaml") if each["kind"] == "HTTPRoute"]
    led = [(to["name"], to["port"]) for route in routes for rule in route["spec"]["rules"] for to in rule["backendRefs"]]
    assert led == [("weir-interceptor", number("interceptor", "http"))]


def test_policies_name_their_ports() -> None:
    """So that a changed port needs no changed NetworkPolicy."""
    policies: list[Path] = sorted((DEPLOY / "base").rglob("networkpolicy.yaml"))
    assert len(policies) == len(PORTS)
    for path in policies:
        assert re.findall(r"port: (\d+)", path.read_text()) == []
