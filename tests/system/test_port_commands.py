"""`weir port` as users type it: what reaches the Admin API, and what is made of its answers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from aiohttp import web

PORT = {
    "id": "tcp-27113", "name": "mqtt", "namespace": "shop", "protocol": "TCP", "port": 27_113, "entry": "weir-system/east",
    "address": "192.0.2.1", "app": None, "by_route": False, "until": "2026-01-01T00:00:00Z", "leased_by": "adam",
}  # fmt: skip
PATH = "/v1/namespaces/shop/ports"


class Server:
    """Notes what it is asked, and answers as the Admin API does."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.where: tuple[str, ...] = ()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, body))
        if request.path.endswith("/taken") or (body and body.get("name") == "taken"):
            problem = {"title": "Conflict", "status": 409, "detail": "TCP port 1 belongs to \x1b[2Jsomebody"}
            return web.json_response(problem, status=409, content_type="application/problem+json")
        if request.method == "GET":
            return web.json_response({"items": [PORT]})
        return web.Response(status=204) if request.method == "DELETE" else web.json_response(PORT, status=201)

    async def weir(self, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
        command = (sys.executable, "-c", "import sys; sys.argv[0] = 'weir'; from weir.cli import main; main()", *arguments)
        command += () if environment else self.where
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | (environment or {})
        )
        out, err = await asyncio.wait_for(process.communicate(), 120)
        assert b"Traceback" not in err, err.decode()
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server.where = ("--cluster", "--server", address, "--token", "t", "--namespace", "shop")
    try:
        yield server
    finally:
        await runner.cleanup()


async def test_a_lease(server: Server) -> None:
    code, out, err = await server.weir("port", "lease", "mqtt", "--address", "192.0.2.1", "--ttl", "24h", "-l", "zone=east")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "shop/mqtt is leased",
        "  TCP 27113 at 192.0.2.1",
        "  until 2026-01-01T00:00:00Z, if nothing uses it",
    ]
    body = {"name": "mqtt", "protocol": "TCP", "address": "192.0.2.1", "selector": "zone=east", "ttl": "86400s"}
    assert server.asked == [("POST", PATH, body)]
    code, out, _ = await server.weir("port", "lease", "--protocol", "udp", "--port", "53", "--app", "dns", "-o", "json")
    assert (code, json.loads(out)) == (0, PORT)
    assert server.asked[1] == ("POST", PATH, {"protocol": "UDP", "port": 53, "app": "dns"})


async def test_the_list_and_a_release(server: Server) -> None:
    code, out, _ = await server.weir("port", "list")
    head, row = out.splitlines()
    assert (code, head.split()[0], row.split()[:3]) == (0, "NAME", ["mqtt", "TCP", "27113"])
    assert yaml.safe_load((await server.weir("port", "list", "-o", "yaml"))[1]) == [PORT]
    code, out, _ = await server.weir("port", "release", "tcp-27113")
    assert (code, out, server.asked[-1]) == (0, "shop/tcp-27113 is released\n", ("DELETE", f"{PATH}/tcp-27113", None))


async def test_what_is_refused(server: Server) -> None:
    for arguments in (("lease", "taken"), ("release", "taken")):
        code, out, err = await server.weir("port", *arguments)
        assert (code, out) == (5, "")
        assert "belongs to" in err
        assert "\x1b" not in err
    for wrong in (("lease", "--protocol", "sctp"), ("lease", "--port", "0"), ("list", "-o", "xml"), ("release",)):
        assert (await server.weir("port", *wrong))[0] == 2


async def test_completion_of_leases(server: Server) -> None:
    typed = " ".join(("weir port release", *server.where, "tcp"))
    environment = {"_WEIR_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    _, out, _ = await server.weir(environment=environment)
    assert out.split() == ["tcp-27113"]
