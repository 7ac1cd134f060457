"""Objects whose requests go outside of the cluster: their routes, their ScaledObject, their status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controller.outside import place_of
from controller.resources import Resource
from controller.scaledobject import Create, Delete, Leave, desired, next_step
from controller.scaling import ScalingFacts
from controller.status import Facts, next_status
from controller.wiring import Scaler
from fleet.routing.route import Target, WeightedTarget
from fleet.routing.target import Connects, TargetTls
from tests.unit.controller.objects import http, route, scaled
from tests.unit.controller.test_status import EVERYWHERE, NOW, PORTS

SCALER = Scaler("weir-scaler.weir-system.svc:9091")
HOST = {"host": "API.example.com", "port": 443}
ADDRESSES = {"addresses": ["192.0.2.1", "192.0.2.2:81"], "port": 80}


def routed(resource: Resource) -> Any:
    assert resource.problem is None, resource.problem
    assert resource.route is not None
    return resource.route


@pytest.mark.parametrize(
    ("given", "target"),
    [
        (HOST, Target(host="API.example.com", port=443)),
        (ADDRESSES, Target(addresses=("192.0.2.1", "192.0.2.2:81"), port=80)),
        ({"addresses": ["[2001:db8::1]:80"]}, Target(addresses=("[2001:db8::1]:80",))),
    ],
)
def test_the_same_words_everywhere(given: dict[str, Any], target: Target) -> None:
    backends, cold = [{**given, "weight": 3}], {"fallback": given}
    for direct in (None, True):
        for made in (http(scaleTargetRef=given, directPodRouting=direct), route(target=given, directPodRouting=direct)):
            assert routed(made).target == target
        for made in (
            http(backends=backends, coldStart=cold, directPodRouting=direct),
            route(rules=[{"backends": backends}], coldStart=cold, directPodRouting=direct),
        ):
            assert routed(made).rules[0].backends == (
                WeightedTarget(host=target.host, port=target.port, addresses=target.addresses, weight=3),
            )
            assert routed(made).cold_start.fallback == target
            assert routed(made).target == Target("shop/web", 80, direct)


@pytest.mark.parametrize(
    ("given", "field", "reason"),
    [
        ({}, "", "exactly one of 'service', 'host' or 'addresses' must be set"),
        ({"service": "web", "port": 80, "host": "a.test"}, "", "exactly one of"),
        ({"host": "a.test", "addresses": ["192.0.2.1"], "port": 1}, "", "exactly one of"),
        ({"host": "a.test", "portName": "http"}, "", "'portName' only for a service"),
        ({"service": "web"}, "", "exactly one of 'port' or 'portName' must be set"),
        ({"host": "a.test"}, ".port", "is missing"),
        ({"host": "10.0.0.1", "port": 80}, ".host", "write it in addresses"),
        ({"addresses": ["192.0.2.1"]}, ".port", "is missing"),
        ({"addresses": ["192.0.2.999:80"]}, ".addresses[0]", "is not an IP address"),
        ({"host": "a.test", "port": 80_000}, ".port", ""),
    ],
)
def test_what_is_refused_is_told_of_in_the_author_s_words(given: dict[str, Any], field: str, reason: str) -> None:
    for made, at in (
        (http(scaleTargetRef=given), "scaleTargetRef"),
        (route(target=given), "target"),
        (route(rules=[{"backends": [given]}]), "rules[0].backends[0]"),
    ):
        assert made.problem is not None
        assert made.problem.field.replace("[...]", "[0]") in {f"spec.{at}{field}", "spec.rules[0].backends[0]", "spec.rules[0]"}
        assert reason in made.problem.reason


def test_a_fallback_is_told_of_where_it_is_written() -> None:
    made = route(coldStart={"fallback": {"host": "a.test"}})
    assert str(made.problem) == "spec.coldStart.fallback.port: is missing"
    made = route(coldStart={"fallback": {"service": {"name": "a", "port": 1}, "host": "a.test"}})
    assert "exactly one of" in str(made.problem)
    made = route(coldStart={"fallback": {"addresses": ["192.0.2.1:443"], "tls": {}}})
    assert str(made.problem) == (
        "spec.coldStart.fallback.tls.serverName: is missing: addresses have no name that a certificate could have"
    )
    made = route(coldStart={"fallback": {**HOST, "appProtocol": "spdy"}})
    assert str(made.problem).startswith("spec.coldStart.fallback.appProtocol: ")


@pytest.mark.parametrize("more", [{"port": 1}, {"appProtocol": "h2"}, {"tls": {}}])
def test_how_the_service_of_a_fallback_is_spoken_to_stands_in_it(more: dict[str, Any]) -> None:
    """Beside the Service it would have no effect: less verification than was asked for, without a word."""
    for made in (http, route):
        problem = made(coldStart={"fallback": {"service": {"name": "a", "port": 1}, **more}}).problem
        assert problem is not None
        assert problem.field == "spec.coldStart.fallback"
        assert problem.reason == "'port', 'appProtocol' and 'tls' of a service are within 'service'"


@pytest.mark.parametrize("made", [http, route])
def test_how_a_fallback_is_spoken_to(made: Callable[..., Resource]) -> None:
    spoken = {"appProtocol": "h2", "tls": {"serverName": "b.test"}}
    for given in (HOST, ADDRESSES):
        assert routed(made(coldStart={"fallback": {**given, **spoken}})).cold_start.fallback.connects == Connects(
            "h2", TargetTls("b.test")
        )


def test_nothing_is_scaled_unless_a_workload_is_named() -> None:
    alone, with_workload = http(scaleTargetRef=HOST), http(scaleTargetRef={**HOST, "name": "web"})
    assert next_step(alone, None, SCALER) == Leave(managed=False)
    step = next_step(with_workload, None, SCALER)
    assert isinstance(step, Create)
    assert step.manifest["spec"]["scaleTargetRef"] == {"name": "web"}
    # What was made while it had a workload, or a Service, goes with it.
    before = scaled(desired(http(), SCALER))
    assert isinstance(next_step(alone, before, SCALER), Delete)


def _told(resource: Resource, **known: Any) -> dict[str, Any]:
    scaling = ScalingFacts(managed=False, known=True)
    good: dict[str, Any] = {"verdict": EVERYWHERE, "services_known": True, "scaling": scaling}
    return {one.type: one for one in next_status(resource, Facts(**(good | known)), NOW).conditions}


@pytest.mark.parametrize("made", [http(scaleTargetRef=HOST), route(target=HOST)])
def test_the_status_of_what_is_outside(made: Resource) -> None:
    found = _told(made)
    assert (found["Ready"].status, found["Ready"].reason, found["Ready"].message) == ("True", "Serving", "requests are routed")
    assert (found["BackendFound"].status, found["BackendFound"].reason) == ("True", "Outside")
    assert found["BackendFound"].message == "requests go to host API.example.com, port 443"
    assert (found["ScaledObjectReady"].status, found["ScaledObjectReady"].reason) == ("False", "Outside")
    assert found["Reachable"].status == "True"
    assert next_status(made, Facts(), NOW).target_service == "host API.example.com, port 443"


def test_fallbacks_and_backends_outside_need_no_service() -> None:
    made = route(rules=[{"backends": [HOST]}], coldStart={"fallback": ADDRESSES})
    found = _told(made, ports=PORTS)["BackendFound"]
    assert found.status == "True"
    assert found.message == (
        "Service shop/web has port 80, and the fallback is addresses 192.0.2.1, 192.0.2.2:81, port 80, "
        "and so have those of rules: host API.example.com, port 443"
    )


def test_a_service_of_type_external_name_needs_to_list_no_port() -> None:
    assert _told(route(), ports=(), external_name="a.example")["BackendFound"].status == "True"
    named = _told(route(target={"service": "web", "portName": "x"}), ports=(), external_name="a.example")["BackendFound"]
    assert (named.status, named.reason) == ("False", "PortNotFound")


def test_many_addresses_are_cut() -> None:
    assert place_of(Target(addresses=tuple(f"192.0.2.{n}:80" for n in range(9)))).endswith("192.0.2.2:80 and 6 more")
    assert place_of(Target(addresses=("192.0.2.1:80",))) == "address 192.0.2.1:80"
    assert place_of(Target("n/a")) == ""
