"""A controller with an Admin API on a real socket, over an API server in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from controller.server import Controller
from controller.settings import ControllerSettings
from tests.support.apply_api import ApplyApi

__all__ = ["APPS", "AdminRig", "admin", "paths_of"]

APPS = "/v1/namespaces/shop/apps"
USERS = {"adam": ("adam", ["system:authenticated"]), "eve": ("eve", ["devs"])}


class AdminRig:
    """What a test holds. The client has the token of adam, who may do everything."""

    def __init__(self, api: ApplyApi, controller: Controller, client: httpx.AsyncClient) -> None:
        self.api = api
        self.controller = controller
        self.client = client

    async def call(self, method: str, path: str = "", body: Any = None, **headers: str) -> httpx.Response:
        """One call below the namespace's apps."""
        options: dict[str, Any] = {} if body is None else {"json": body}
        return await self.client.request(
            method, f"{APPS}{path}", headers={name.replace("_", "-"): value for name, value in headers.items()}, **options
        )


def paths_of(name: str = "web") -> list[str]:
    """Paths of an application's objects on the API server."""
    return [
        f"/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects/{name}",
        f"/api/v1/namespaces/shop/services/{name}",
        f"/apis/apps/v1/namespaces/shop/deployments/{name}",
    ]


def new_api() -> ApplyApi:
    api = ApplyApi()
    for token, (username, groups) in USERS.items():
        api.tokens[token] = {"username": username, "uid": f"uid-of-{username}", "groups": groups, "extra": {"scopes": ["a"]}}
    return api


@asynccontextmanager
async def admin(api: ApplyApi, table: Path, *flags: str, scheme: str = "http", **client: Any) -> AsyncIterator[AdminRig]:
    own = ["--host", "127.0.0.1", "--diagnostics-port", "0", "--routes", f"file:{table}", "--members", "127.0.0.1:1"]
    own += ["--scaler-address", "scaler:9091", "--lease", "weir-system/weir-controller", "--lease-duration", "3"]
    own += ["--admin", "--admin-port", "0", "--controller-name", "weir-controller-0"]
    if scheme == "http":
        own.append("--admin-plaintext")
    controller = Controller(ControllerSettings.load([*own, *flags]), api=api)
    await controller.start()
    try:
        base = f"{scheme}://127.0.0.1:{controller.admin_port}"
        headers = {"Authorization": "Bearer adam"}
        async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, timeout=30, **client) as opened:
            yield AdminRig(api, controller, opened)
    finally:
        await controller.close()
