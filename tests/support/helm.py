"""The real helm, and an API server in memory that knows enough for it: discovery, lists, and the objects of small charts."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fleet.discovery.kubernetes.client import ApiError, Query
from tests.support.apply_api import ApplyApi

__all__ = ["HelmApi", "helm"]

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]

_KINDS = {
    "v1": {
        "configmaps": "ConfigMap", "secrets": "Secret", "services": "Service", "serviceaccounts": "ServiceAccount", "pods": "Pod",
        "namespaces": "Namespace",
    },
    "apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet"},
    "batch/v1": {"jobs": "Job"},
    "http.keda.sh/v1alpha1": {"httpscaledobjects": "HTTPScaledObject"},
    "rbac.authorization.k8s.io/v1": {
        "roles": "Role", "rolebindings": "RoleBinding", "clusterroles": "ClusterRole",
        "clusterrolebindings": "ClusterRoleBinding",
    },
}  # fmt: skip
_CLUSTER_WIDE = ("Namespace", "ClusterRole", "ClusterRoleBinding")


@cache
def _built() -> str:
    built = subprocess.run([ROOT / "tools" / "helm"], check=False, capture_output=True, text=True)
    if built.returncode != 0:
        raise RuntimeError(built.stderr)
    return built.stdout.strip()


def helm() -> str:
    """Path of the pinned helm, built the first time. The test is skipped without go."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed, and helm is built by it")
    return _built()


class HelmApi(ApplyApi):
    """Kinds of an API server, and what helm asks beside its objects."""

    async def request(self, method: str, path: str, *, query: Query = (), body: Any = None, **options: Any) -> bytes:
        if isinstance(body, bytes):
            body, options = None if method == "DELETE" else _secret(body), options | {"content_type": "application/json"}
        if method == "GET" and path not in self.objects:
            if (found := _discovered(path)) is not None:
                return json.dumps(found).encode()
            group_version, resource, name = _parts(path)
            kind = _KINDS.get(group_version, {}).get(resource)
            if kind is not None and not name:
                listed = json.loads(await self.get(path, query))
                return json.dumps({"apiVersion": group_version, "kind": f"{kind}List", **listed}).encode()
        return await super().request(method, path, query=query, body=body, **options)


def _secret(content: bytes) -> Json:
    """A Secret from Kubernetes' protobuf (runtime.Unknown in k8s.io/apimachinery, Secret in k8s.io/api/core/v1)."""
    secret = _fields(_fields(content.removeprefix(b"k8s\0"))[2][0])
    metadata = _fields(secret[1][0])
    named = {"name": 1, "namespace": 3, "uid": 5, "resourceVersion": 6}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            **{name: metadata[number][0].decode() for name, number in named.items() if metadata.get(number, [b""])[0]},
            "labels": {key.decode(): value.decode() for key, value in map(_pair, metadata.get(11, []))},
        },
        "data": {key.decode(): base64.b64encode(value).decode() for key, value in map(_pair, secret.get(2, []))},
        "type": secret[3][0].decode(),
    }


def _pair(entry: bytes) -> tuple[bytes, bytes]:
    fields = _fields(entry)
    return fields[1][0], fields.get(2, [b""])[0]


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """Fields with a length, by number; others are left out."""
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value, at = _varint(message, at)
        if key & 7 == 2:
            found.setdefault(key >> 3, []).append(message[at : at + value])
            at += value
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not message[at - 1] & 0x80:
            return value, at


def _parts(path: str) -> tuple[str, str, str]:
    """Version with its group, resource, and name."""
    segments = path.strip("/").split("/")
    length = 2 if segments[0] == "api" else 3
    version, rest = "/".join(segments[1:length]), segments[length:]
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:]
    return version, rest[0] if rest else "", rest[1] if len(rest) > 1 else ""


def _discovered(path: str) -> Json | None:
    if path == "/version":
        return {"major": "1", "minor": "35", "gitVersion": "v1.35.4"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [tuple(version.split("/")) for version in _KINDS if "/" in version]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*group) for group in groups]}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if path != (f"/apis/{version}" if "/" in version else f"/api/{version}") or version.count("/") > 1:
        return None
    if version in _KINDS:
        verbs = ["get", "list", "create", "update", "patch", "delete", "watch"]
        resources = [
            {"name": name, "singularName": "", "namespaced": kind not in _CLUSTER_WIDE, "kind": kind, "verbs": verbs}
            for name, kind in _KINDS[version].items()
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
    raise ApiError(f"{path}: the server could not find the requested resource", status=404)


def _group(name: str, version: str) -> Json:
    found = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [found], "preferredVersion": found}
