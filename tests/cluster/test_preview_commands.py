"""Previews as a CI job makes them, on a real control plane and from the document alone: one command makes one and prints its URL,
one deletes it, and an exit code tells what is wrong."""

import os
import shlex
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import APP_IMAGE, ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, replicas
from tests.cluster.test_admin import RBAC, admin
from tests.cluster.test_app_commands import Run, deployer
from tests.cluster.test_previews import ROLE, _objects
from tests.cluster.weir import NAMESPACE, Weir, http_scaled_object, until_condition

__all__ = ["admin"]  # the fixture


def in_ci() -> tuple[str, str]:
    """The commands of the document, and the Role."""
    blocks = (ROOT / "docs" / "previews.md").read_text().partition("\n## In CI\n")[2].split("```")
    return blocks[1].strip(), blocks[3].removeprefix("yaml")


def write_kustomization(directory: Path) -> None:
    """A user's kustomization: the overlay, with both components."""
    overlay, *components = (
        os.path.relpath(ROOT / "deploy" / path, directory)
        for path in ("overlays/default", "components/admin/cluster", "components/previews/cluster")
    )
    own = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": NAMESPACE}
    text = yaml.safe_dump({**own, "resources": [overlay], "components": components})
    (directory / "kustomization.yaml").write_text(text)


@pytest.fixture
async def making(
    admin: tuple[str, ssl.SSLContext], cluster: Cluster, weir: Weir, api: Api, tmp_path: Path
) -> AsyncIterator[None]:
    """The fleet with both components, which are removed afterwards."""
    write_kustomization(tmp_path)
    try:
        await cluster.kubectl("apply", "--server-side", "-k", str(tmp_path))
        await weir.until_ready(api)
        yield
    finally:
        await api.delete(f"{RBAC}/clusterrolebindings/{ROLE}")
        await api.delete(f"{RBAC}/clusterroles/{ROLE}")


@pytest.fixture
async def job(making: None, cluster: Cluster, api: Api, namespace: str, tmp_path: Path) -> AsyncIterator[Run]:
    """A job's shell, which may do what the document says."""
    async with deployer(cluster, api, namespace, yaml.safe_load(in_ci()[1])["rules"], tmp_path) as run:
        yield run


async def test_a_preview_in_ci(job: Run, cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", previews={}))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    before = await _objects(api, namespace)
    commands = in_ci()[0].replace("registry.example.com/web:feature1", APP_IMAGE).splitlines()
    assert len(commands) == 3
    make, reach, delete = commands
    reach = reach.replace("curl ", f"curl -sSf --noproxy '*' --connect-to ::{weir.address}:8080 ")
    code, out, err = await job(f"set -e\n{make}\necho $URL\n{reach}")
    assert code == 0, (out, err)
    url, answer = out.splitlines()[:2]
    assert url == f"http://feature1.web.{namespace}/"
    assert answer.split()[0].rsplit("-", 2)[0] == "web--feature1"
    assert "is replaced, and awake" in err or "is created, and awake" in err
    assert await replicas(api, namespace, "web") == 0

    code, out, err = await job("weir preview list")
    assert (code, out.splitlines()[1].split()[:4]) == (0, ["web--feature1", "web", "feature1", "awake"]), (out, err)
    code, out, err = await job("weir preview extend feature1 --base web --for 96h")
    assert (code, out.startswith(f"{namespace}/web--feature1 lives until 2")) == (0, True), (out, err)

    code, out, err = await job("weir preview create --base web --name bad --image no.such/image:1 --wake")
    assert (code, out) == (9, ""), err
    assert "ImageNotPulled" in err.splitlines()[-1]
    hook = {"containers": [{"name": "a", "image": APP_IMAGE, "command": ["/bin/sh", "-c", "exit 3"]}]}
    before_it = [{"name": "database", "job": {"backoffLimit": 0, "template": {"spec": hook}}}]
    document = shlex.quote(yaml.safe_dump({"base": "web", "name": "hooked", "before": before_it}))
    code, out, err = await job(f"echo {document} | weir preview create -f -")
    assert (code, out) == (9, ""), err
    assert "HookFailed: hook database" in err.splitlines()[-1]

    await api.merge(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"weir.dev/previews": "restricted"}}})
    await _is_restricted(job, cluster, [delete.replace("feature1", name) for name in ("feature1", "bad", "hooked")])
    code, out, err = await job(delete)
    assert (code, out) == (0, ""), err

    async def is_as_before() -> bool:
        return await _objects(api, namespace) == before

    await until(is_as_before, "nothing is left")


async def _is_restricted(job: Run, cluster: Cluster, deletions: list[str]) -> None:
    """By the policy of the examples, once the API server has begun to ask it; what was there before can be deleted."""
    flags = "weir preview create --no-wait --base web --name"
    policy = ROOT / "deploy" / "examples" / "kubernetes" / "preview-policy.yaml"
    await cluster.kubectl("apply", "--server-side", "-f", str(policy))
    try:

        async def refuses() -> bool:
            code, _, err = await job(f"{flags} other --ttl 1h --image elsewhere.example.com/web:1 --dry-run")
            return code != 0 and "the image of a Preview has to be one of registry.example.com" in err

        await until(refuses, "the policy is in force")
        code, _, err = await job(f"{flags} other --image registry.example.com/web:1")
        assert code != 0
        assert "a Preview needs a ttl here" in err
        hook = {"containers": [{"name": "a", "image": "elsewhere.example.com/a"}]}
        hooks = [{"name": "database", "job": {"template": {"spec": hook}}}]
        for when in ("before", "after"):
            document = shlex.quote(yaml.safe_dump({"base": "web", "name": "other", "ttl": "1h", when: hooks}))
            code, _, err = await job(f"echo {document} | weir preview create --no-wait -f -")
            assert code != 0
            assert "the images of hooks have to be of registry.example.com" in err
        code, _, err = await job(f"{flags} good --ttl 1h --image registry.example.com/web:1 --dry-run")
        assert code == 0, err
        for deletion in deletions:
            code, out, err = await job(deletion)
            assert (code, out.endswith(" is deleted\n")) == (0, True), (out, err)
    finally:
        await cluster.kubectl("delete", "-f", str(policy))
