"""The add-on's Service names and ports as aliases: nothing that names one of them has to be edited."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.manifests import DEPLOY, Manifests, Object, build, container, selects

pytestmark = pytest.mark.timeout(900)

PREFIX = "keda-add-ons-http-"
# Name, port in the add-on's manifests, our workload and the port of its container.
ALIASES = {
    "interceptor-proxy": (8080, "weir-interceptor", "http"),
    "interceptor-admin": (9090, "weir-interceptor", "diagnostics"),
    "interceptor-metrics": (2223, "weir-interceptor", "diagnostics"),
    "external-scaler": (9090, "weir-scaler", "grpc"),
    "operator-metrics": (8080, "weir-controller", "diagnostics"),
}
OTHERS = {"interceptor-proxy": [(8443, "https")]}
HERE, IN_KEDA = "http-add-on-aliases", "http-add-on-aliases-in-keda"


@pytest.fixture
def built(program: Path, tmp_path: Path) -> Callable[..., Manifests]:
    def build_with(component: str, overlay: str = "default", **fields: Any) -> Manifests:
        paths = {name: os.path.relpath(DEPLOY / name, tmp_path) for name in ("overlays", "components")}
        own = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{paths['overlays']}/{overlay}"],
            "components": [f"{paths['components']}/{component}"],
            **fields,
        }
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(own))
        return build(program, tmp_path)

    return build_with


def aliases(manifests: Manifests, namespace: str) -> dict[str, Object]:
    services = [each for each in manifests.of("Service") if each["metadata"]["name"].startswith(PREFIX)]
    return {
        each["metadata"]["name"].removeprefix(PREFIX): each for each in services if each["metadata"]["namespace"] == namespace
    }


@pytest.mark.parametrize(
    ("overlay", "fields", "namespace"),
    [("default", {}, "weir-system"), ("single-namespace", {}, "default"), ("default", {"namespace": "keda"}, "keda")],
)
def test_each_name_and_port_leads_to_the_component_that_does_its_work(
    built: Callable[..., Manifests], overlay: str, fields: dict[str, Any], namespace: str
) -> None:
    manifests = built(HERE, overlay, **fields)
    found = aliases(manifests, namespace)
    assert found.keys() == ALIASES.keys()
    for name, (port, workload, target) in ALIASES.items():
        first, *others = found[name]["spec"]["ports"]
        assert (first["port"], first["targetPort"]) == (port, target)
        # The add-on's Service has the port for TLS where that is enabled; here it leads to nothing without proxy-tls.
        assert [(each["port"], each["targetPort"]) for each in others] == OTHERS.get(name, [])
        chosen = [each for each in manifests.of("Deployment") if selects(found[name]["spec"]["selector"], each)]
        assert [each["metadata"]["name"] for each in chosen] == [workload]
        assert target in {each["name"] for each in container(chosen[0])["ports"]}


@pytest.mark.parametrize(("overlay", "namespace"), [("default", "weir-system"), ("single-namespace", "default")])
def test_in_the_namespace_of_the_addon_they_are_names_of_those(
    built: Callable[..., Manifests], overlay: str, namespace: str
) -> None:
    manifests = built(IN_KEDA, overlay)
    assert aliases(manifests, namespace).keys() == ALIASES.keys()
    found = aliases(manifests, "keda")
    assert {name: each["spec"] for name, each in found.items()} == {
        name: {"type": "ExternalName", "externalName": f"{PREFIX}{name}.{namespace}.svc.cluster.local"} for name in ALIASES
    }


@pytest.mark.parametrize(
    ("component", "known"),
    [
        (HERE, ["keda-add-ons-http-external-scaler.$(POD_NAMESPACE):9090"]),
        (IN_KEDA, ["keda-add-ons-http-external-scaler.$(POD_NAMESPACE):9090", "keda-add-ons-http-external-scaler.keda:9090"]),
    ],
)
def test_the_controller_knows_the_scaler_by_these_names(
    built: Callable[..., Manifests], component: str, known: list[str]
) -> None:
    """Else a trigger that was left as it was is told that its scaler is another one."""
    manifests = built(component)
    (controller,) = [each for each in manifests.of("Deployment") if each["metadata"]["name"] == "weir-controller"]
    variables = {each["name"]: each.get("value") for each in container(controller)["env"]}
    assert variables["WEIR_SCALER_ALIASES"] == ",".join(known)
    names = list(variables)
    assert names.index("POD_NAMESPACE") < names.index("WEIR_SCALER_ALIASES"), "what a value names has to stand before it"
