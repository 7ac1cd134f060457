"""The examples: accepted by the schemas, by the decoders and by the scaler, and leading to Services that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controller.crds import definitions
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.interceptor_route import InterceptorRouteSpec
from controller.schema.preview import PreviewSpec
from scaler.triggers import ALL_APPS, app_of, subject_of
from tests.support.manifests import DEPLOY, Manifests, Object, read

EXAMPLES = sorted((DEPLOY / "examples" / "kubernetes").glob("*.yaml"))
SPECS: dict[str, type[msgspec.Struct]] = {
    "HTTPScaledObject": HTTPScaledObjectSpec,
    "InterceptorRoute": InterceptorRouteSpec,
    "Preview": PreviewSpec,
}
SCALER = "weir-scaler.weir-system.svc:9091"
OBJECTS = [(path, found) for path in EXAMPLES for found in read(path)]
TRIGGERS = [
    (path, found, trigger)
    for path, found in OBJECTS
    if found["kind"] == "ScaledObject"
    for trigger in found["spec"]["triggers"]
    if trigger["type"].startswith("external")
]
OF_APPS = [each for each in TRIGGERS if "interceptorTargetPendingRequests" not in each[2]["metadata"]]
OF_THE_FLEET = [each for each in TRIGGERS if each not in OF_APPS]


@pytest.mark.parametrize(
    ("path", "found"), [each for each in OBJECTS if each[1]["kind"] in SPECS], ids=lambda value: getattr(value, "stem", "")
)
def test_custom_resources_are_accepted(path: Path, found: Object) -> None:
    kind = found["kind"]
    msgspec.convert(found["spec"], SPECS[kind])
    (definition,) = (each for each in definitions().values() if each["spec"]["names"]["kind"] == kind)
    (version,) = definition["spec"]["versions"]
    assert found["apiVersion"] == f"{definition['spec']['group']}/{version['name']}"
    # The API server drops what the schema does not know, without a word.
    assert list(_unknown(found["spec"], version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")) == []


@pytest.mark.parametrize(("path", "found", "trigger"), OF_APPS, ids=lambda value: getattr(value, "stem", ""))
def test_triggers_name_an_application(path: Path, found: Object, trigger: Any) -> None:
    namespace = found["metadata"].get("namespace", "default")
    assert trigger["type"] == "external-push"
    assert trigger["metadata"]["scalerAddress"] == SCALER
    assert app_of(namespace, trigger["metadata"]) == "default/" + trigger["metadata"].get(
        "interceptorRoute", trigger["metadata"].get("httpScaledObject", "shop")
    )


def test_the_fleet_is_scaled_where_it_is() -> None:
    ((_, found, trigger),) = OF_THE_FLEET
    namespace = SCALER.split(".")[1]
    assert trigger["metadata"]["scalerAddress"] == SCALER
    subject = subject_of(None, found["metadata"]["namespace"], trigger["metadata"], fleet_namespace=namespace)
    assert (subject.app, [spec.target for spec in subject.specs]) == (ALL_APPS, [200.0])


def test_every_way_to_name_an_application_is_shown() -> None:
    keys = set(chain.from_iterable(trigger["metadata"] for _, _, trigger in TRIGGERS))
    assert {"app", "httpScaledObject", "interceptorRoute", "enableTLS"} <= keys


def test_triggers_with_certificates_say_so_twice() -> None:
    for _, _, trigger in TRIGGERS:
        assert ("authenticationRef" in trigger) == (trigger["metadata"].get("enableTLS") == "true")


@pytest.mark.timeout(900)
def test_addresses_are_those_of_our_services(overlay_of: Callable[[str], Manifests]) -> None:
    default = overlay_of("default")
    name, namespace, _ = SCALER.split(":", maxsplit=1)[0].split(".")
    scaler = default.get("Service", name)
    assert scaler["metadata"]["namespace"] == namespace
    assert [port["port"] for port in scaler["spec"]["ports"]] == [int(SCALER.split(":")[1])]
    (ingress,) = (found for _, found in OBJECTS if found["kind"] == "Ingress")
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    proxy = default.get("Service", backend["name"])
    assert ingress["metadata"]["namespace"] == proxy["metadata"]["namespace"]
    assert backend["port"]["name"] in [port["name"] for port in proxy["spec"]["ports"]]
    (route,) = (found for _, found in OBJECTS if found["kind"] == "HTTPRoute")
    (reference,) = route["spec"]["rules"][0]["backendRefs"]
    assert reference["port"] in [port["port"] for port in default.get("Service", reference["name"])["spec"]["ports"]]


def _unknown(value: Any, schema: Any, where: str) -> Iterator[str]:
    """The fields that the schema does not have."""
    if isinstance(value, dict) and "properties" in schema:
        for key, inner in value.items():
            if key in schema["properties"]:
                yield from _unknown(inner, schema["properties"][key], f"{where}.{key}")
            else:
                yield f"{where}.{key}"
    if isinstance(value, list) and "items" in schema:
        for number, inner in enumerate(value):
            yield from _unknown(inner, schema["items"], f"{where}[{number}]")
