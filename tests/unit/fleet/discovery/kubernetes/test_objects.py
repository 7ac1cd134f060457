"""What is read from Kubernetes objects, and how a port in a route becomes addresses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from yarl import URL

from fleet.discovery.kubernetes.objects import (
    ENDPOINT_SLICES,
    Endpoint,
    EndpointSlice,
    Service,
    SlicePort,
    parse_endpoint_slice,
    parse_service,
)
from fleet.discovery.kubernetes.ports import backends_at, port_name
from fleet.discovery.sources import Backend


def a_slice(*endpoints: Endpoint, ports: tuple[SlicePort, ...] = (SlicePort("http", 8080),), ipv6: bool = False) -> EndpointSlice:
    return EndpointSlice("default/web", ipv6, ports, endpoints)


def ready(address: str, pod: str = "") -> Endpoint:
    return Endpoint(address, pod, ready=True, serving=True, terminating=False)


def parsed(**content: Any) -> EndpointSlice:
    metadata = {"name": "web-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}
    return parse_endpoint_slice(json.dumps({"metadata": metadata, **content}).encode())


def test_paths() -> None:
    assert ENDPOINT_SLICES.path() == "/apis/discovery.k8s.io/v1/endpointslices"
    assert ENDPOINT_SLICES.path("default", "web-x") == "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-x"


@pytest.mark.parametrize("name", ["../../victim/deployments/db", "x?watch=true", "x#", "%2e%2e/x", "a/b"])
def test_a_path_leads_to_no_other_object(name: str) -> None:
    path = URL(ENDPOINT_SLICES.path("default", name)).raw_path
    assert path.count("/") == 7
    assert path.startswith("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/")
    with pytest.raises(ValueError, match="not the name"):
        ENDPOINT_SLICES.path("default", "..")


def test_a_service_is_its_tcp_and_udp_ports() -> None:
    ports = [{"port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "m", "port": 90}]
    assert parse_service(json.dumps({"spec": {"ports": ports, "type": "ClusterIP"}}).encode()) == Service(
        (("", 80), ("m", 90)), udp_ports=(("dns", 53),)
    )
    assert parse_service(b'{"spec":{"externalName":"elsewhere.test"}}') == Service(())
    assert parse_service(b'{"spec":{"clusterIP":"fd00::1","ports":[{"port":80}]}}') == Service((("", 80),), "fd00::1")
    assert parse_service(b'{"spec":{"clusterIP":"None"}}') == Service(())


def test_a_slice_is_its_ports_and_endpoints() -> None:
    found = parsed(
        addressType="IPv4",
        ports=[
            {"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "any", "port": None},
        ],
        endpoints=[
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "web-1"}},
            {"addresses": [], "conditions": {"ready": True}},
        ],
    )
    assert found.service == "default/web"
    assert found.ports == (SlicePort("http", 8080, "kubernetes.io/h2c"),)
    assert found.udp_ports == (SlicePort("dns", 53),)
    assert found.endpoints == (Endpoint("10.0.0.1", "web-1", ready=True, serving=True, terminating=False),)
    assert parsed(addressType="FQDN", endpoints=[{"addresses": ["a.test"]}]).endpoints == ()
    assert parsed(addressType="IPv4", endpoints=None, ports=None).endpoints == ()


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, (True, True, False)),
        ({"ready": None, "serving": None}, (True, True, False)),
        ({"ready": False}, (False, False, False)),
        ({"ready": True, "serving": True, "terminating": False}, (True, True, False)),
        ({"ready": False, "serving": True, "terminating": True}, (False, True, True)),
        ({"ready": True, "serving": True, "terminating": True}, (False, True, True)),  # publishNotReadyAddresses
        ({"ready": False, "serving": False, "terminating": True}, (False, False, True)),
    ],
)
def test_conditions_mean_what_the_api_says(conditions: dict[str, bool | None], expected: tuple[bool, bool, bool]) -> None:
    (found,) = parsed(addressType="IPv4", endpoints=[{"addresses": ["10.0.0.1"], "conditions": conditions}]).endpoints
    assert (found.ready, found.serving, found.terminating) == expected


@pytest.mark.parametrize(
    ("ports", "port", "expected"),
    [
        ((("http", 80), ("m", 90)), 80, "http"),
        ((("http", 80), ("m", 90)), 8080, None),
        ((("http", 80), ("m", 90)), None, None),
        ((("", 80),), 80, ""),
        ((("", 80),), None, ""),
        ((), 80, None),
        ((("http", 80),), "http", "http"),
    ],
)
def test_a_port_of_a_service_has_the_name_that_slices_use(
    ports: tuple[tuple[str, int], ...], port: int | str | None, expected: str | None
) -> None:
    assert port_name(Service(ports), port) == expected


def test_a_named_port_needs_no_service() -> None:
    assert port_name(None, "http") == "http"
    assert port_name(None, 80) is None
    assert port_name(None, None) is None


def test_backends_are_the_ready_endpoints_at_the_port() -> None:
    leaving = Endpoint("10.0.0.2", "b", ready=False, serving=True, terminating=True)
    ports = (SlicePort("http", 8080, "kubernetes.io/h2c"), SlicePort("m", 9000))
    slices = [a_slice(ready("10.0.0.1", "a"), leaving, ports=ports), a_slice(ready("10.0.0.3", "c"))]
    assert backends_at(slices, "http") == (Backend("10.0.0.1", 8080, "kubernetes.io/h2c"), Backend("10.0.0.3", 8080))
    assert backends_at(slices, "m") == (Backend("10.0.0.1", 9000),)
    assert backends_at(slices, "other") == ()


def test_slices_of_one_service_may_have_other_ports() -> None:
    slices = [a_slice(ready("10.0.0.1")), a_slice(ready("10.0.0.2"), ports=(SlicePort("http", 8081),))]
    assert backends_at(slices, "http") == (Backend("10.0.0.1", 8080), Backend("10.0.0.2", 8081))


def test_a_pod_with_two_addresses_is_one_backend() -> None:
    both = [a_slice(ready("fd00::1", "a"), ready("fd00::2", "b"), ipv6=True), a_slice(ready("10.0.0.1", "a"))]
    assert backends_at(both, "http") == (Backend("10.0.0.1", 8080), Backend("fd00::2", 8080))
