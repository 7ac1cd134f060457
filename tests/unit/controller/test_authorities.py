"""Authorities of backends: from an object, from ConfigMaps, and what an object is without them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from controller.authorities import authority_bytes
from controller.bodies import Absent, Bodies
from controller.problem import Problem
from controller.resources import Resource
from controller.table import MAX_TABLE_CA_BYTES, Assembly, assemble
from fleet.discovery.kubernetes.objects import ConfigMap
from fleet.routing.route import Route
from fleet.routing.target import MAX_CA_BYTES, Connects, TargetTls
from tests.support.certificates import Authority, of_version
from tests.unit.controller.objects import http, route

PEM, OTHER = Authority().pem.decode(), Authority("other").pem.decode()
GARBAGE = "-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n"
CA: dict[str, Any] = {"caBundleFromConfigMap": {"name": "ca"}}


def believing(tls: Mapping[str, Any] = CA, **more: Any) -> Resource:
    return http(scaleTargetRef={"name": "web", "service": "web", "port": 443, "tls": tls}, **more)


def tls_of(made: Assembly) -> TargetTls:
    found = made.table.apps["shop/web"].target.tls
    assert found is not None
    return found


def with_map(content: ConfigMap | Absent | None, before: Assembly | None = None, resource: Resource | None = None) -> Assembly:
    maps: Bodies = {} if content is None else {"shop/ca": content}
    return assemble([resource or believing()], before=None if before is None else before.table, authorities=maps)


def test_they_are_put_in_and_followed() -> None:
    made = with_map(ConfigMap({"ca.crt": PEM, "other": "x"}))
    assert tls_of(made) == TargetTls(ca_bundle=PEM)
    assert made.asked == {believing().key: believing().asked}
    later = with_map(ConfigMap({"ca.crt": OTHER}), made)
    assert tls_of(later) == TargetTls(ca_bundle=OTHER)
    assert later.table.version != made.table.version


def test_another_key_and_a_binary_one() -> None:
    resource = believing({"serverName": "a.test", "caBundleFromConfigMap": {"name": "ca", "key": "bundle.pem"}})
    binary = ConfigMap({"ca.crt": OTHER}, {"bundle.pem": base64.b64encode(PEM.encode()).decode()})
    assert tls_of(with_map(binary, resource=resource)) == TargetTls("a.test", PEM)


INVALID = {
    "not there": (Absent("there is none with the label x"), "ConfigMap shop/ca: there is none with the label x"),
    "without the key": (ConfigMap({"tls.crt": PEM}), "ConfigMap shop/ca has no key 'ca.crt'"),
    "empty": (ConfigMap({"ca.crt": ""}), "ConfigMap shop/ca: key 'ca.crt': has no certificate in PEM"),
    "not PEM": (ConfigMap({"ca.crt": "garbage"}), "has no certificate in PEM"),
    "not a certificate": (ConfigMap({"ca.crt": GARBAGE}), "has no certificates in PEM that can be read"),
    "one of two": (ConfigMap({"ca.crt": PEM + GARBAGE}), "has no certificates in PEM that can be read"),
    "a private key": (ConfigMap({"ca.crt": f"{PEM}-----BEGIN EC PRIVATE KEY-----"}), "has a private key"),
    "too large": (ConfigMap({"ca.crt": PEM * 2000}), f"at most {MAX_CA_BYTES} are possible"),
    "1 MB of nothing": (ConfigMap({"ca.crt": "x" * (1 << 20)}), f"{1 << 20} characters of certificates"),
    "not ASCII": (ConfigMap({}, {"ca.crt": base64.b64encode(b"\xff" + PEM.encode()).decode()}), "not ASCII"),
    "not base64": (ConfigMap({}, {"ca.crt": "%"}), "is not base64"),
}


@pytest.mark.parametrize(("content", "told"), INVALID.values(), ids=INVALID.keys())
def test_a_route_without_its_authorities_is_none(content: ConfigMap | Absent, told: str) -> None:
    """Whatever was served before: it would be believed for less, or for something else, than the object asks for."""
    served = with_map(ConfigMap({"ca.crt": PEM}))
    for before in (None, served):
        made = with_map(content, before)
        assert made.table.routes == ()
        problem = made.problems[believing().key]
        assert problem.field == "spec.scaleTargetRef.tls.caBundleFromConfigMap"
        assert told in problem.reason
        assert len(str(problem)) < 300
        assert not made.asked
        again = with_map(ConfigMap({"ca.crt": PEM}), made)
        assert tls_of(again) == TargetTls(ca_bundle=PEM)
        assert not again.problems


@pytest.mark.parametrize("content", [None, Absent("the API server is away", temporary=True)])
def test_what_is_not_known_changes_nothing(content: Absent | None) -> None:
    first = with_map(content)
    assert (first.table.routes, first.asked) == ((), {})
    # Nothing is said of what is not known yet. Where the API server does not tell, there is nothing to wait for.
    told = [problem.reason for problem in first.problems.values()]
    assert told == ([] if content is None else ["ConfigMap shop/ca: the API server is away"])
    served = assemble([believing({"insecureSkipVerify": True})])
    made = with_map(content, served)
    assert tls_of(made) == TargetTls(insecure_skip_verify=True), "the version before"
    assert (made.problems, made.asked) == ({}, {})


def test_others_are_served_all_the_same() -> None:
    made = assemble([believing(), http("fine")], authorities={"shop/ca": ConfigMap({"ca.crt": GARBAGE})})
    assert set(made.table.apps) == {"shop/fine"}


PLACES: dict[str, dict[str, Any]] = {
    "spec.target": {"target": {"service": "web", "port": 443, "tls": CA}},
    "spec.coldStart.fallback.service": {"coldStart": {"fallback": {"service": {"name": "other", "port": 443, "tls": CA}}}},
    "spec.coldStart.fallback": {"coldStart": {"fallback": {"host": "other.test", "port": 443, "tls": CA}}},
    "spec.rules[1].backends[1]": {
        "rules": [
            {"hosts": ["a.test"]},
            {"hosts": ["b.test"], "backends": [{"service": "a", "port": 80}, {"service": "b", "port": 80, "tls": CA}]},
        ]
    },
}
HTTP_PLACES: dict[str, dict[str, Any]] = {
    "spec.coldStartTimeoutFailoverRef": {"coldStartTimeoutFailoverRef": {"service": "other", "port": 443, "tls": CA}},
    "spec.backends[0]": {"backends": [{"service": "b", "port": 80, "tls": CA}]},
    "spec.rules[0].backends[0]": {"hosts": None, "rules": [{"backends": [{"service": "b", "port": 80, "tls": CA}]}]},
}


def bundles(found: Route) -> list[str | None]:
    return [target.tls.ca_bundle for target in found.targets if target.tls is not None]


@pytest.mark.parametrize(
    ("place", "resource"),
    [
        *((place, route(**fields)) for place, fields in PLACES.items()),
        *((place, http(**fields)) for place, fields in HTTP_PLACES.items()),
    ],
)
def test_every_place_that_names_a_service(place: str, resource: Resource) -> None:
    made = with_map(ConfigMap({"ca.crt": PEM}), resource=resource)
    assert bundles(made.table.apps["shop/web"]) == [PEM]
    wrong = with_map(ConfigMap({}), resource=resource)
    assert wrong.problems[resource.key].field == f"{place}.tls.caBundleFromConfigMap"


@pytest.mark.parametrize(
    ("tls", "field", "told"),
    [
        ({"caBundle": GARBAGE}, "tls.caBundle", "has no certificates in PEM that can be read"),
        ({"caBundle": "garbage"}, "tls.caBundle", "has no certificate in PEM"),
        ({"caBundle": ""}, "tls.caBundle", "has no certificate in PEM"),
        ({"serverName": "*.a.test"}, "tls.serverName", "is a pattern"),
        ({"caBundle": of_version(PEM.encode(), 7).decode()}, "tls.caBundle", "has no certificates in PEM that can be read"),
        ({"caBundle": PEM, "insecureSkipVerify": True}, "tls", "'insecureSkipVerify' and authorities exclude each other"),
        ({**CA, "insecureSkipVerify": True}, "tls", "'insecureSkipVerify' and authorities exclude each other"),
        ({**CA, "caBundle": PEM}, "tls", "'caBundle' and 'caBundleFromConfigMap' exclude each other"),
        ({"insecureSkipVerify": "true"}, "tls.insecureSkipVerify", "Expected `bool`, got `str`"),
        ({"caBundleFromConfigMap": {}}, "tls.caBundleFromConfigMap", "missing required field `name`"),
    ],
)
def test_what_is_wrong_in_an_object(tls: dict[str, Any], field: str, told: str) -> None:
    for resource, at in (
        (believing(tls), "scaleTargetRef"),
        (route(target={"service": "web", "port": 443, "tls": tls}), "target"),
        (route(coldStart={"fallback": {"service": {"name": "a", "port": 1, "tls": tls}}}), "coldStart.fallback.service"),
        (route(coldStart={"fallback": {"host": "a.test", "port": 1, "tls": tls}}), "coldStart.fallback"),
        (http(coldStartTimeoutFailoverRef={"service": "a", "port": 1, "tls": tls}), "coldStartTimeoutFailoverRef"),
    ):
        assert isinstance(resource.problem, Problem)
        assert resource.problem.field == f"spec.{at}.{field}"
        assert told in resource.problem.reason
        assert resource.asked is None


@pytest.mark.parametrize("word", ["tcp", "HTTP", "h3"])
def test_a_protocol_that_nobody_knows(word: str) -> None:
    resource = http(scaleTargetRef={"name": "web", "service": "web", "port": 80, "appProtocol": word})
    assert resource.problem is not None
    assert resource.problem.field == "spec.scaleTargetRef.appProtocol"


def test_what_an_object_says_of_its_service() -> None:
    resource = route(target={"service": "web", "port": 443, "appProtocol": "grpc", "tls": {"serverName": "a.test"}})
    assert resource.route is not None
    assert resource.route.target.connects == Connects("grpc", TargetTls("a.test"))


def test_the_table_has_room_for_those_of_the_oldest() -> None:
    bundle = PEM * (MAX_CA_BYTES // len(PEM))
    count = MAX_TABLE_CA_BYTES // len(bundle)
    resources = [
        http(
            f"app{number}",
            scaleTargetRef={"name": "a", "service": "a", "port": 1, "tls": CA},
            metadata={"creationTimestamp": f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z"},
        )
        for number in range(count + 2)
    ]
    made = assemble(resources, authorities={"shop/ca": ConfigMap({"ca.crt": bundle})})
    assert sum(map(authority_bytes, made.table.routes)) <= MAX_TABLE_CA_BYTES
    assert len(made.table.routes) == count
    assert set(made.problems) == {resource.key for resource in resources[count:]}
    assert "leave no room" in made.problems[resources[-1].key].reason


def test_objects_of_the_add_on_are_what_they_were() -> None:
    resource = http()
    assert resource.route is not None
    assert resource.route.target.connects == Connects()
    assert resource.authorities == ()
