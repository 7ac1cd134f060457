"""The components that switch the Admin API on: a port, a certificate, and no permission more than it uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from controller.admin.authentication import PATH as TOKEN_REVIEWS
from controller.admin.authorization import PATH as ACCESS_REVIEWS
from controller.settings import ControllerSettings
from fleet import defaults
from tests.support.manifests import DEPLOY, Manifests, build, container

pytestmark = pytest.mark.timeout(900)

WRITTEN = {
    (group, resource): {"get", "create", "patch", "delete"}
    for group, resource in (("apps", "deployments"), ("", "services"), ("http.keda.sh", "httpscaledobjects"))
}
WRITTEN[("apps", "deployments")] |= {"list", "watch"}
WRITTEN |= {("", "pods"): {"list"}, ("", "pods/log"): {"get"}}
WRITTEN |= {("weir.dev", "previews"): {"get", "list", "create", "update", "patch", "delete"}}
REVIEWED = {
    ("authentication.k8s.io", "tokenreviews"): {"create"},
    ("authorization.k8s.io", "subjectaccessreviews"): {"create"},
}


@pytest.fixture(params=[("default", "cluster"), ("tls", "cluster"), ("single-namespace", "namespace")], ids="-".join)
def built(program: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Manifests, str]:
    overlay, component = request.param
    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "mine",
        "resources": [os.path.relpath(DEPLOY / "overlays" / overlay, tmp_path)],
        "components": [os.path.relpath(DEPLOY / "components" / "admin" / component, tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return build(program, tmp_path), component


def test_it_is_switched_on_with_a_certificate(built: tuple[Manifests, str]) -> None:
    deployment = built[0].get("Deployment", "weir-controller")
    own = container(deployment)
    environment = {each["name"]: each.get("value") for each in own["env"]}
    given = {name: value for name, value in environment.items() if name.startswith("WEIR_ADMIN") and value}
    settings = ControllerSettings.load(
        [f"--{name[5:].lower().replace('_', '-')}={value}" for name, value in given.items() if name != "WEIR_ADMIN"] + ["--admin"]
    )
    assert environment["WEIR_ADMIN"] == "true"
    assert settings.admin_tls is not None
    (mounted,) = [each for each in own["volumeMounts"] if each["name"] == "admin-tls"]
    assert {str(settings.admin_tls.cert.parent), str(settings.admin_tls.key.parent)} == {mounted["mountPath"]}
    assert {"name": "admin", "containerPort": defaults.ADMIN_PORT} in [
        {key: each[key] for key in ("name", "containerPort")} for each in own["ports"]
    ]
    assert environment["WEIR_ROUTES"]  # what was there stays


def test_it_is_reached_by_a_service_of_its_own(built: tuple[Manifests, str]) -> None:
    manifests, _ = built
    service = manifests.get("Service", "weir-admin")
    assert [(each["port"], each["targetPort"]) for each in service["spec"]["ports"]] == [(defaults.ADMIN_PORT, "admin")]
    labels = manifests.get("Deployment", "weir-controller")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["metadata"]["namespace"] == "mine"
    rules = manifests.get("NetworkPolicy", "weir-controller")["spec"]["ingress"]
    assert [rule["from"] for rule in rules if rule["ports"] == [{"port": "admin"}]]
    assert all("from" in rule for rule in rules)


def test_it_may_no_more_than_it_does(built: tuple[Manifests, str]) -> None:
    manifests, component = built
    kind = "ClusterRole" if component == "cluster" else "Role"
    assert _rules(manifests, kind, "weir-controller-admin") == WRITTEN
    assert _rules(manifests, "ClusterRole", "weir-controller-reviews") == REVIEWED
    assert {path.rpartition("/")[2] for path in (TOKEN_REVIEWS, ACCESS_REVIEWS)} == {name for _, name in REVIEWED}
    for binding_kind, name in ((f"{kind}Binding", "weir-controller-admin"), ("ClusterRoleBinding", "weir-controller-reviews")):
        subjects = manifests.get(binding_kind, name)["subjects"]
        assert subjects == [{"kind": "ServiceAccount", "name": "weir-controller", "namespace": "mine"}]


def _rules(manifests: Manifests, kind: str, name: str) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in manifests.get(kind, name)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
