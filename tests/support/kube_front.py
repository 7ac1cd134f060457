"""The part of an API server that `weir app` uses: where the Admin API is, a token, and a port-forward to it.

The protocol is that of kubelets, v4.channel.k8s.io.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import WSMsgType, web

__all__ = ["KubeFront", "kube_front"]

NAMESPACE = "weir-system"
POD_PORT = 9092


@dataclass
class KubeFront:
    """What it says; a test may change everything."""

    admin_port: int
    services: list[str] = field(default_factory=lambda: [NAMESPACE])
    secret: dict[str, bytes] | None = None
    app_protocol: str = "https"
    pods: list[str] = field(default_factory=lambda: ["weir-controller-0"])
    tokens: dict[str, str] = field(default_factory=dict)
    """Of ServiceAccounts, by namespace/name."""
    permits_forward: bool = True
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Authorization of each request."""
    url: str = ""

    def write_kubeconfig(self, path: Path, user: dict[str, Any], namespace: str = "shop") -> Path:
        context = {"name": "test", "context": {"cluster": "test", "user": "me", "namespace": namespace}}
        cluster = {"name": "test", "cluster": {"server": self.url}}
        known = {"contexts": [context], "clusters": [cluster], "users": [{"name": "me", "user": user}]}
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "test", **known}))
        return path

    def routes(self) -> list[web.RouteDef]:
        core = "/api/v1/namespaces/{namespace}"
        return [
            web.get(f"{core}/services/weir-admin", self._service),
            web.get("/api/v1/services", self._services),
            web.get(f"{core}/secrets/weir-admin-tls", self._secret),
            web.get(f"{core}/pods", self._pods),
            web.post(f"{core}/serviceaccounts/{{name}}/token", self._token),
            web.get(f"{core}/pods/{{name}}/portforward", self._forward),
        ]

    def _note(self, request: web.Request) -> None:
        self.seen.append((request.method, request.path, request.headers.get("Authorization", "")))

    def _service_in(self, namespace: str) -> dict[str, Any]:
        port = {"name": "admin", "port": POD_PORT, "targetPort": "admin", "appProtocol": self.app_protocol}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "weir-admin", "namespace": namespace},
            "spec": {"selector": {"app.kubernetes.io/name": "weir"}, "ports": [port]},
        }

    async def _service(self, request: web.Request) -> web.Response:
        self._note(request)
        namespace = request.match_info["namespace"]
        return web.json_response(self._service_in(namespace)) if namespace in self.services else _refused(404, "not found")

    async def _services(self, request: web.Request) -> web.Response:
        self._note(request)
        items = [self._service_in(namespace) for namespace in self.services]
        return web.json_response({"apiVersion": "v1", "kind": "ServiceList", "metadata": {}, "items": items})

    async def _secret(self, request: web.Request) -> web.Response:
        self._note(request)
        if self.secret is None:
            return _refused(403, 'secrets "weir-admin-tls" is forbidden')
        data = {name: base64.b64encode(value).decode() for name, value in self.secret.items()}
        return web.json_response({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "weir-admin-tls"}, "data": data})

    async def _pods(self, request: web.Request) -> web.Response:
        self._note(request)
        assert request.query["labelSelector"] == "app.kubernetes.io/name=weir"
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        items = [{"metadata": {"name": name}, "status": ready} for name in self.pods]
        items.append({"metadata": {"name": "starting"}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}})
        return web.json_response({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items})

    async def _token(self, request: web.Request) -> web.Response:
        self._note(request)
        account = f"{request.match_info['namespace']}/{request.match_info['name']}"
        if account not in self.tokens:
            return _refused(404, f'serviceaccounts "{account}" not found')
        spec = (await request.json())["spec"]
        status = {"token": self.tokens[account], "expirationTimestamp": "2030-01-01T00:00:00Z"}
        answer = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec, "status": status}
        return web.json_response(answer, status=201)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        if not self.permits_forward:
            return _refused(403, "pods/portforward is forbidden")
        assert request.query["ports"] == str(POD_PORT)
        assert request.match_info["name"] in self.pods
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        port = POD_PORT.to_bytes(2, "little")
        for channel in (b"\x00", b"\x01"):
            await socket.send_bytes(channel + port)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port)
        except OSError as error:
            await socket.send_bytes(b"\x01" + str(error).encode())
            return socket
        back = asyncio.create_task(_back(reader, socket))
        async for message in socket:
            if message.type == WSMsgType.BINARY and message.data[:1] == b"\x00":
                writer.write(message.data[1:])
                await writer.drain()
        writer.close()
        await back
        return socket


async def _back(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    while piece := await reader.read(1 << 16):
        await socket.send_bytes(b"\x00" + piece)
    await socket.close()


def _refused(status: int, message: str) -> web.Response:
    body = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "code": status}
    return web.json_response(body, status=status)


@asynccontextmanager
async def kube_front(admin_port: int) -> AsyncIterator[KubeFront]:
    front = KubeFront(admin_port)
    app = web.Application()
    app.add_routes(front.routes())
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    front.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield front
    finally:
        await runner.cleanup()
