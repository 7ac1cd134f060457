"""`weir app` on a real control plane, from the document alone: by a kubeconfig, and a port-forward that it makes itself."""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import APP_IMAGE, ROOT, Cluster
from tests.cluster.controlplane import URL, until
from tests.cluster.test_admin import RBAC, _objects, _token, admin
from tests.cluster.weir import NAMESPACE, Weir

__all__ = ["admin", "deployer"]

Run = Callable[..., Awaitable[tuple[int, str, str]]]
"""Runs a line of a shell, with more variables; returns its exit code and what it has written."""

Rule = dict[str, list[str]]
APP_VERBS = ["get", "list", "create", "patch", "delete"]
OF_APPS = [
    {"apiGroups": [group], "resources": [resource], "verbs": APP_VERBS}
    for group, resource in (("apps", "deployments"), ("", "services"), ("http.keda.sh", "httpscaledobjects"))
]
OF_WEIR = [
    {"apiGroups": [""], "resources": ["services"], "resourceNames": ["weir-admin"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["weir-admin-tls"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
]
"""What docs/cli.md says that a user needs in Weir's namespace."""


async def _permit(api: Api, namespace: str, user: str, rules: list[Rule]) -> None:
    """Permit the ServiceAccount deployer of the user's namespace to do something in a namespace."""
    name = f"deployer-{user}"
    await api.create(f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": user}],
    }
    await api.create(f"{RBAC}/namespaces/{namespace}/rolebindings", binding)


@pytest.fixture
async def run(
    admin: tuple[str, ssl.SSLContext], cluster: Cluster, api: Api, namespace: str, tmp_path: Path
) -> AsyncIterator[Run]:
    async with deployer(cluster, api, namespace, OF_APPS, tmp_path) as run:
        yield run


@asynccontextmanager
async def deployer(cluster: Cluster, api: Api, namespace: str, rules: list[Rule], tmp_path: Path) -> AsyncIterator[Run]:
    """A shell with a kubeconfig of a ServiceAccount that may call the Admin API, and what rules say in its namespace."""
    await api.create(namespaced("serviceaccounts", namespace), {"metadata": {"name": "deployer"}})
    await _permit(api, namespace, namespace, rules)
    await _permit(api, NAMESPACE, namespace, OF_WEIR)
    context = {"name": "test", "context": {"cluster": "test", "user": "deployer", "namespace": namespace}}
    known = {"name": "test", "cluster": {"server": URL, "certificate-authority": str(cluster.plane.ca)}}
    user = {"name": "deployer", "user": {"token": await _token(api, namespace, "deployer")}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "test", "contexts": [context], "clusters": [known]}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump({**config, "users": [user]}))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "WEIR_RUNTIME_DIR": str(tmp_path / "run"),
    }

    async def run(line: str, **variables: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", line),
            env={**environment, **variables},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 300)
        return process.returncode or 0, out.decode(), err.decode()

    try:
        yield run
    finally:
        await _forbid(api, namespace)


async def _forbid(api: Api, namespace: str) -> None:
    for kind in ("rolebindings", "roles"):
        await api.delete(f"{RBAC}/namespaces/{NAMESPACE}/{kind}/deployer-{namespace}")


async def test_the_five_commands_of_the_document(run: Run, weir: Weir, api: Api, namespace: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text().partition("## Five commands")[2]
    commands = text.split("```")[3].strip().splitlines()
    assert len(commands) == 5
    before = await _objects(api, namespace)
    said = []
    for command in commands:
        typed = command.replace("registry.example.com/web:1", APP_IMAGE)
        typed = typed.replace("curl ", f"curl -sSf --noproxy '*' --connect-to ::{weir.address}:8080 ")
        code, out, err = await run(typed)
        assert code == 0, (typed, out, err)
        said.append(out)
    created, reached, updated, listed, deleted = said
    assert created.splitlines()[0] == f"{namespace}/web is created"
    assert reached
    assert updated.splitlines()[0] == f"{namespace}/web is updated"
    assert listed.splitlines()[1].split()[:3] == ["web", "True", "0-2"]
    assert deleted.startswith(f"{namespace}/web is deleted")

    async def nothing_left() -> bool:
        return await _objects(api, namespace) == before

    await until(nothing_left, "nothing is left")


async def test_a_client_certificate_and_names(run: Run, cluster: Cluster, namespace: str) -> None:
    code, out, err = await run(f"weir app create web --image {APP_IMAGE} --no-wait -o json")
    assert (code, json.loads(out)["name"]) == (0, "web"), err
    flags = f"--kubeconfig {cluster.plane.kubeconfig} --namespace {namespace}"
    code, _, err = await run(f"weir app list {flags}")  # with a token of the account default, which may do nothing
    assert code == 6
    assert err.splitlines()[0] == f"on context test, namespace {namespace}, as ServiceAccount {namespace}/default"
    code, out, err = await run(f"weir app list {flags} --token-of deployer")
    assert (code, out.splitlines()[1].split()[0]) == (0, "web"), err
    asked = {"_WEIR_COMPLETE": "complete_bash", "COMP_WORDS": "weir app delete w", "COMP_CWORD": "3"}

    async def completed() -> bool:
        return (await run("weir", **asked))[1].split() == ["web"]

    await until(completed, "names are completed, in the four seconds that a shell waits for them")
    code, _, err = await run("weir app show web --token expired")
    assert (code, err.splitlines()[-1]) == (6, "the token is not accepted, or not any more: it may have expired")
