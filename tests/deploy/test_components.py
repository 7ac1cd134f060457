"""What the components for the Admin API, for releases and for events add to an overlay, as their pages have it: those objects,
those permissions, those fields of one Deployment, and nothing beside."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.admin.releases.helm import MAX_RUNS, SOFT_MEMORY
from controller.settings import ControllerSettings
from fleet.routing.quantity import octets
from fleet.runtime.settings import ENVIRONMENT_PREFIX
from tests.support.manifests import DEPLOY, ROOT, Manifests, Object, build, container, pod

pytestmark = pytest.mark.timeout(900)

Key = tuple[str, str]
Builder = Callable[..., Manifests]
ADMIN, RELEASES, EVENTS = "admin", "admin/releases", "events"
CONTROLLER = "weir-controller"
SCOPES = {"cluster": "default", "namespace": "single-namespace"}
"""Each component has two forms, one for each of these overlays."""
BOUND = [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": "mine"}]


@pytest.fixture(scope="module")
def with_components(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    @cache
    def built(scope: str, *names: str) -> Manifests:
        directory = tmp_path_factory.mktemp("own")
        components = [os.path.relpath(DEPLOY / "components" / name / scope, directory) for name in names]
        return build(program, _write(directory, SCOPES[scope], components))

    return built


@pytest.fixture(params=sorted(SCOPES))
def scope(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def _write(directory: Path, overlay: str, components: Sequence[str]) -> Path:
    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "mine",
        "resources": [os.path.relpath(DEPLOY / "overlays" / overlay, directory)],
        "components": list(components),
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return directory


def _by_key(manifests: Manifests) -> dict[Key, Object]:
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests.objects}


def _added(before: Manifests, after: Manifests) -> dict[Key, Object]:
    there = _by_key(before)
    assert there.keys() <= _by_key(after).keys()
    return {key: found for key, found in _by_key(after).items() if key not in there}


def _changed(before: Manifests, after: Manifests) -> set[Key]:
    now = _by_key(after)
    return {key for key, found in _by_key(before).items() if now[key] != found}


def _extra(before: Any, after: Any, at: str = "") -> dict[str, Any]:
    """Fields and items that are only there afterwards, by path; items of lists by what they are. Fails where one is gone."""
    if isinstance(before, dict) and isinstance(after, dict):
        assert before.keys() <= after.keys(), at
        found = {f"{at}.{name}": value for name, value in after.items() if name not in before}
        for name, value in before.items():
            found |= _extra(value, after[name], f"{at}.{name}")
        return found
    if isinstance(before, list) and isinstance(after, list) and at.endswith((".containers", ".ingress", ".egress")):
        assert len(before) <= len(after), at
        found = {f"{at}[{number}]": value for number, value in enumerate(after[len(before) :], len(before))}
        for number, value in enumerate(before):
            found |= _extra(value, after[number], f"{at}[{number}]")
        return found
    if isinstance(before, list) and isinstance(after, list):
        assert [each for each in after if each in before] == before, at
        more = [each for each in after if each not in before]
        return {f"{at}+": more} if more else {}
    return {} if before == after else {at: after}


def _deployment(before: Manifests, after: Manifests) -> dict[str, Any]:
    """What is new in the controller's Deployment, below the pod's spec."""
    found = _extra(before.get("Deployment", CONTROLLER), after.get("Deployment", CONTROLLER))
    prefix = ".spec.template.spec"
    assert all(path.startswith(prefix) for path in found), found
    return {path.removeprefix(prefix).replace(".containers[0]", "container"): value for path, value in found.items()}


def _roles(scope: str, name: str) -> dict[Key, str]:
    kind = "ClusterRole" if scope == "cluster" else "Role"
    return {(kind, name): "", (f"{kind}Binding", name): kind}


def test_the_admin_api_adds_a_port_a_certificate_and_its_permissions(with_components: Builder, scope: str) -> None:
    before, after = with_components(scope), with_components(scope, ADMIN)
    reviews = _roles("cluster", "weir-controller-reviews")  # tokens and permissions belong to no namespace
    added = _added(before, after)
    assert added.keys() == {*_roles(scope, "weir-controller-admin"), *reviews, ("Service", "weir-admin")}
    for (kind, name), found in added.items():
        if kind.endswith("Binding"):
            assert found["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": kind[: -len("Binding")], "name": name}
            assert found["subjects"] == BOUND
        if kind in ("Role", "ClusterRole"):
            assert not any({"*", "secrets", "bind", "escalate", "impersonate"} & set(_words(rule)) for rule in found["rules"])
    assert added["Service", "weir-admin"]["spec"].get("type", "ClusterIP") == "ClusterIP"

    assert _changed(before, after) == {("Deployment", CONTROLLER), ("NetworkPolicy", CONTROLLER)}
    let_in = {
        "from": [{"namespaceSelector": {"matchLabels": {"weir-admin": "enabled"}}}],
        "ports": [{"port": "admin"}],
    }
    policies = [each.get("NetworkPolicy", CONTROLLER)["spec"] for each in (before, after)]
    assert _extra(*policies) == {".ingress[1]": let_in}
    at = "/etc/weir/admin"
    assert _deployment(before, after) == {
        "container.ports+": [{"name": "admin", "containerPort": 9092}],
        "container.env+": [
            {"name": "WEIR_ADMIN", "value": "true"},
            {"name": "WEIR_ADMIN_TLS_CERT", "value": f"{at}/tls.crt"},
            {"name": "WEIR_ADMIN_TLS_KEY", "value": f"{at}/tls.key"},
        ],
        "container.volumeMounts": [{"name": "admin-tls", "mountPath": at, "readOnly": True}],
        ".volumes": [{"name": "admin-tls", "secret": {"secretName": "weir-admin-tls", "defaultMode": 0o440}}],
    }


def test_releases_add_one_binding_a_place_for_files_and_memory(with_components: Builder, scope: str) -> None:
    before, after = with_components(scope, ADMIN), with_components(scope, ADMIN, RELEASES)
    kind = "ClusterRoleBinding" if scope == "cluster" else "RoleBinding"
    ((key, binding),) = _added(before, after).items()
    assert key == (kind, "weir-controller-releases")
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    assert binding["subjects"] == BOUND
    assert binding["metadata"].get("namespace") == (None if scope == "cluster" else "mine")

    assert _changed(before, after) == {("Deployment", CONTROLLER)}
    files = "/var/run/weir"
    found = _deployment(before, after)
    memory = found.pop("container.resources.limits.memory")
    assert found == {
        "container.env+": [{"name": "TMPDIR", "value": files}],
        "container.volumeMounts+": [{"name": "helm", "mountPath": files}],
        ".volumes+": [{"name": "helm", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    own = container(before.get("Deployment", CONTROLLER))["resources"]["limits"]["memory"]
    assert octets(memory) == octets(own) + MAX_RUNS * octets(SOFT_MEMORY.removesuffix("B"))
    # The root cannot be written to: what helm writes has one place, which is bounded.
    spec = pod(after.get("Deployment", CONTROLLER))
    assert container(after.get("Deployment", CONTROLLER))["securityContext"]["readOnlyRootFilesystem"] is True
    assert [each["name"] for each in spec["volumes"] if "emptyDir" in each] == ["helm"]


def test_events_add_settings_from_a_secret_and_a_permission_to_watch(with_components: Builder, scope: str) -> None:
    before, after = with_components(scope), with_components(scope, EVENTS)
    roles = _roles(scope, "weir-controller-events")
    added = _added(before, after)
    assert added.keys() == roles.keys()
    (role, binding) = (added[key] for key in roles)
    assert role["rules"] == [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]
    assert binding["subjects"] == BOUND
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": "weir-controller-events"}
    assert _changed(before, after) == {("Deployment", CONTROLLER)}
    # Not optional: without the Secret the pod does not start, instead of sending no events without a word.
    assert _deployment(before, after) == {"container.envFrom": [{"secretRef": {"name": "weir-events"}}]}


def test_all_of_them_together(with_components: Builder, scope: str) -> None:
    every = with_components(scope, ADMIN, RELEASES, EVENTS)
    names = Counter((each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in every.objects)
    assert [key for key, count in names.items() if count > 1] == []
    own = container(every.get("Deployment", CONTROLLER))
    assert len({each["name"] for each in own["env"]}) == len(own["env"])
    assert (len(own["envFrom"]), len(own["volumeMounts"]), len(pod(every.get("Deployment", CONTROLLER))["volumes"])) == (1, 2, 2)
    for name in ("weir-interceptor", "weir-scaler"):
        assert every.get("Deployment", name) == with_components(scope).get("Deployment", name)


@pytest.mark.parametrize("page", ["admin", "releases", "events"])
def test_the_page_shows_components_that_exist(page: str, program: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    shown = re.findall(r"PATH/deploy/components/([a-z/-]+)", text)
    others = re.findall(r"\b((?:admin|events)(?:/releases)?/namespace)\b", text)
    assert shown
    assert others
    for name in {*shown, *others}:
        assert (DEPLOY / "components" / name / "kustomization.yaml").is_file(), name
    components = [os.path.relpath(DEPLOY / "components" / name, tmp_path) for name in shown]
    assert build(program, _write(tmp_path, "default", components)).get("Deployment", CONTROLLER)


def test_the_variables_of_the_secret_are_settings() -> None:
    text = (ROOT / "docs" / "events.md").read_text()
    named = set(re.findall(r"WEIR_EVENTS_[A-Z_]+", text))
    settings = {f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in ControllerSettings.model_fields if name.startswith("events_")}
    assert named == settings
    assert "secret generic weir-events" in text


def _words(rule: Object) -> list[str]:
    return [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
