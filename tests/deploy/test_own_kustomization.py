"""A kustomization of a user's own, as docs/kubernetes.md shows it, on top of our overlays."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.manifests import DEPLOY, ROOT, Manifests, build, container, read

pytestmark = pytest.mark.timeout(900)

BLOCKS = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "kubernetes.md").read_text(), re.DOTALL)
]


@pytest.fixture
def built(program: Path, tmp_path: Path) -> Callable[..., Manifests]:
    def build_on(overlay: str, **fields: Any) -> Manifests:
        base = os.path.relpath(DEPLOY / "overlays" / overlay, tmp_path)
        own = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [base], **fields}
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(own))
        return build(program, tmp_path)

    return build_on


def test_the_image_is_ones_own(built: Callable[..., Manifests]) -> None:
    (shown,) = (block for block in BLOCKS if "images" in block)
    assert shown["resources"] == ["PATH/deploy/overlays/default"]
    images = {container(each)["image"] for each in built("default", images=shown["images"]).of("Deployment")}
    assert images == {"REGISTRY/weir:TAG"}


def test_a_setting_is_patched(built: Callable[..., Manifests]) -> None:
    (shown,) = (block for block in BLOCKS if "patches" in block)
    env = container(built("default", patches=shown["patches"]).get("Deployment", "weir-interceptor"))["env"]
    assert env[-1] == {"name": "WEIR_READINESS_TIMEOUT", "value": "120"}


@pytest.mark.parametrize("overlay", ["single-namespace", "default"])
def test_another_namespace(built: Callable[..., Manifests], overlay: str) -> None:
    manifests = built(overlay, namespace="mine")
    cluster = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Namespace"}
    assert {each["metadata"]["namespace"] for each in manifests.objects if each["kind"] not in cluster} == {"mine"}
    for binding in manifests.of("RoleBinding", "ClusterRoleBinding"):
        assert [subject["namespace"] for subject in binding["subjects"]] == ["mine"]
    assert "weir-system" not in yaml.safe_dump([each["spec"] for each in manifests.of("Deployment")])


def test_an_autoscaler_has_the_replicas_to_itself(built: Callable[..., Manifests]) -> None:
    path = DEPLOY / "examples" / "kubernetes" / "interceptor-autoscaling.yaml"
    comment = "\n".join(line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("#   "))
    patched = built("default", patches=yaml.safe_load(comment)).get("Deployment", "weir-interceptor")
    assert "replicas" not in patched["spec"]
    (autoscaler,) = read(path)
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == patched["metadata"]["name"]
    assert autoscaler["metadata"]["namespace"] == patched["metadata"]["namespace"]
