"""The components that let the controller make copies for Previews: off by default, and no permission more than is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support.manifests import DEPLOY, Manifests, build, container

pytestmark = pytest.mark.timeout(900)

GRANTED = {
    ("weir.dev", "previews"): {"get", "list", "watch", "create", "patch", "delete"},
    ("weir.dev", "previews/status"): {"patch"},
    ("weir.dev", "previews/finalizers"): {"update"},
    ("apps", "deployments"): {"get", "list", "watch", "create", "patch", "delete"},
    ("apps", "statefulsets"): {"get", "list", "watch", "create", "patch", "delete"},
    ("batch", "jobs"): {"get", "create", "delete"},
    ("", "services"): {"get", "create", "patch", "delete"},
    ("http.keda.sh", "httpscaledobjects"): {"get", "create", "patch", "delete"},
    ("keda.sh", "scaledobjects"): {"get"},
}


@pytest.mark.parametrize(
    ("overlay", "component", "kind"),
    [("default", "cluster", "ClusterRole"), ("single-namespace", "namespace", "Role")],
)
def test_it_is_switched_on_with_what_it_needs(program: Path, tmp_path: Path, overlay: str, component: str, kind: str) -> None:
    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "mine",
        "resources": [os.path.relpath(DEPLOY / "overlays" / overlay, tmp_path)],
        "components": [os.path.relpath(DEPLOY / "components" / "previews" / component, tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(own))
    manifests = build(program, tmp_path)
    environment = container(manifests.get("Deployment", "weir-controller"))["env"]
    assert {"name": "WEIR_PREVIEWS", "value": "true"} in environment
    role = manifests.get(kind, "weir-controller-previews")
    found = {
        (group, each): set(rule["verbs"]) for rule in role["rules"] for group in rule["apiGroups"] for each in rule["resources"]
    }
    assert found == GRANTED
    binding = manifests.get(f"{kind}Binding", "weir-controller-previews")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "weir-controller", "namespace": "mine"}]


ELSEWHERE = {
    ("", "namespaces"): {"get", "list", "watch"},
    ("", "configmaps"): {"get", "list", "create", "update", "delete"},
    ("weir.dev", "previews"): {"patch"},
    ("http.keda.sh", "httpscaledobjects"): {"delete"},
}
SECRETS = {("", "secrets"): {"get", "list", "create", "update", "delete"}}


@pytest.mark.parametrize("names", [["cluster", "elsewhere"], ["cluster", "elsewhere", "secrets"]], ids=["", "secrets"])
def test_copies_in_other_namespaces_are_switched_on_and_secrets_apart(program: Path, tmp_path: Path, names: list[str]) -> None:
    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "mine",
        "resources": [os.path.relpath(DEPLOY / "overlays" / "default", tmp_path)],
        "components": [os.path.relpath(DEPLOY / "components" / "previews" / name, tmp_path) for name in names],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(own))
    manifests = build(program, tmp_path)
    given = {each["name"]: each.get("value") for each in container(manifests.get("Deployment", "weir-controller"))["env"]}
    assert (given["WEIR_PREVIEWS"], given["WEIR_PREVIEW_NAMESPACES"]) == ("true", "true")
    expected = {"elsewhere": ELSEWHERE, "secrets": SECRETS}
    roles = {one["metadata"]["name"]: one for one in manifests.of("ClusterRole")}
    for part, granted in expected.items():
        name = f"weir-controller-previews-{part}"
        assert (name in roles) == (part in names)
        if part in names:
            found = {
                (group, each): set(rule["verbs"])
                for rule in roles[name]["rules"]
                for group in rule["apiGroups"]
                for each in rule["resources"]
            }
            assert found == granted
            binding = manifests.get("ClusterRoleBinding", name)
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "weir-controller", "namespace": "mine"}]
    others = [rule for name, role in roles.items() if not name.endswith("-secrets") for rule in role["rules"]]
    assert not any("secrets" in rule["resources"] for rule in others)


def test_it_is_off_by_default(overlay_of: Callable[[str], Manifests]) -> None:
    default = overlay_of("default")
    environment = container(default.get("Deployment", "weir-controller"))["env"]
    assert "WEIR_PREVIEWS" not in {each["name"] for each in environment}
    assert "previews.weir.dev" in {each["metadata"]["name"] for each in default.of("CustomResourceDefinition")}
