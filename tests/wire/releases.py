"""Releases by the Admin API on a real socket, made by the real helm, over an API server in memory."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx

from controller.admin.documents import Problem
from tests.support.helm import HelmApi, helm
from tests.wire.admin import USERS, AdminRig, admin

__all__ = ["CONFIG", "RELEASES", "call", "config", "document", "left", "new_api", "permit", "problem_of", "releases"]

RELEASES = "/v1/namespaces/shop/releases"
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-config
data:
  greeting: {{ .Values.greeting | default "hello" | toJson }}
"""


def document(data: bytes, name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"name": name, "chart": {"archive": base64.b64encode(data).decode()}, "timeout": 20, **fields}


def new_api() -> HelmApi:
    api = HelmApi()
    for token, (username, groups) in USERS.items():
        api.tokens[token] = {"username": username, "uid": f"uid-of-{username}", "groups": groups, "extra": {}}
    return api


def releases(api: HelmApi, directory: Path, *flags: str) -> AbstractAsyncContextManager[AdminRig]:
    """A controller with helm."""
    return admin(api, directory / "routes.json", *("--admin-rate", "1000", "--admin-helm", helm()), *flags)


async def call(rig: AdminRig, method: str, path: str = "", content: Any = None, **options: Any) -> httpx.Response:
    return await rig.client.request(method, f"{RELEASES}{path}", json=content, **options)


def problem_of(answer: httpx.Response, status: int, kind: str) -> Problem:
    assert answer.status_code == status, answer.text
    problem = Problem.model_validate(answer.json())
    assert problem.type == f"urn:weir:problem:{kind}", problem
    return problem


def config(rig: AdminRig) -> str | None:
    found = rig.api.objects.get("/api/v1/namespaces/shop/configmaps/web-config")
    return found["data"]["greeting"] if found is not None else None


def left(rig: AdminRig) -> list[str]:
    """What there is of releases, without Weir's own events about routes."""
    found = (path for path in rig.api.objects if "/namespaces/shop/" in path or "weir-release" in path)
    return [path for path in found if "/events/" not in path]


def permit(rig: AdminRig, allowed: Callable[[dict[str, str]], bool]) -> None:
    rig.api.allowed = lambda spec: allowed(spec["resourceAttributes"])
