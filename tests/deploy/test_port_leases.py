"""The component that has the controller lease ports: a switch, a label, a NetworkPolicy, and no permission more than it uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from controller.settings import ControllerSettings
from tests.support.manifests import DEPLOY, Manifests, build, container

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=["default", "single-namespace"])
def manifests(program: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Manifests:
    paths = {name: os.path.relpath(DEPLOY / name, tmp_path) for name in ("overlays", "components")}
    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{paths['overlays']}/{request.param}"],
        "components": [f"{paths['components']}/ports"],
        "namespace": "weir-system",
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return build(program, tmp_path)


def test_it_is_switched_on_and_its_settings_fit(manifests: Manifests) -> None:
    environment = {each["name"]: each.get("value") for each in container(manifests.get("Deployment", "weir-controller"))["env"]}
    assert environment["WEIR_PORTS"] == "true"
    settings = ControllerSettings.load([])
    assert settings.port_entries in manifests.get("Service", "weir-interceptor")["metadata"]["labels"]
    policy = manifests.get("NetworkPolicy", settings.port_policy)
    assert policy["spec"] == {
        "podSelector": manifests.get("NetworkPolicy", "weir-interceptor")["spec"]["podSelector"],
        "policyTypes": ["Ingress"],
    }


def test_what_it_permits(manifests: Manifests) -> None:
    rules = manifests.get("Role", "weir-controller-ports")["rules"]
    granted = {
        (resource, name, verb)
        for rule in rules
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
    assert granted == {
        *(("leases", "", verb) for verb in ("list", "watch", "patch", "delete")),
        *(("services", "", verb) for verb in ("list", "watch")),
        ("services", "weir-interceptor", "patch"),
        ("networkpolicies", "weir-interceptor-ports", "get"),
        ("networkpolicies", "weir-interceptor-ports", "patch"),
    }
    (subject,) = manifests.get("RoleBinding", "weir-controller-ports")["subjects"]
    assert (subject["name"], subject["namespace"]) == ("weir-controller", "weir-system")
