"""`weir release` as users type it: what reaches the Admin API, and what is made of its answers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

REVISION = {"revision": 2, "updated": "now", "status": "deployed", "chart": "web-1.0.0", "app_version": "1", "description": "x"}
RELEASE = {
    "namespace": "shop",
    "name": "web",
    "revision": REVISION,
    "first_deployed": "",
    "notes": "Thanks\x1b[2J\n",
    "values": {"a": "1"},
}


async def weir(*arguments: str) -> tuple[int, str, str]:
    command = (sys.executable, "-m", "weir", "release", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert b"Traceback" not in err, err.decode()
    return process.returncode or 0, out.decode(), err.decode()


class Server:
    """Notes what it is asked, and answers as the Admin API does."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.count = 300
        self.is_there = True
        self.answer: web.StreamResponse | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path_qs.removeprefix("/v1/namespaces/shop/releases"), body))
        if self.answer is not None:
            return self.answer
        if request.query.get("wait") == "true":
            return await self._stream(request)
        if request.query.get("dryRun") == "All":
            plan = {"objects": [], "manifest": "kind: ConfigMap\n"}
            return web.json_response(plan) if request.method != "DELETE" else web.Response(status=204)
        if request.method == "GET":
            return self._read(request)
        return web.json_response(RELEASE) if request.method != "DELETE" else web.Response(status=204)

    def _read(self, request: web.Request) -> web.Response:
        if request.path.endswith("/history"):
            return web.json_response({"items": [REVISION]})
        if request.path.endswith("/releases"):
            limit, offset = int(request.query["limit"]), int(request.query["offset"])
            names = range(offset, min(offset + limit, self.count))
            items = [{"namespace": "shop", "name": f"r{number}", **REVISION} for number in names]
            return web.json_response({"items": items, "next": offset + limit if offset + limit < self.count else None})
        if not self.is_there:
            problem = {"title": "Not found", "status": 404, "detail": "there is no release web"}
            return web.json_response(problem, status=404, content_type="application/problem+json")
        return web.json_response(RELEASE)

    @staticmethod
    async def _stream(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        done = RELEASE if request.method != "DELETE" else {}
        for name, value in (("progress", {"step": "helm works"}), ("done", done)):
            await answer.write(f"event: {name}\ndata: {json.dumps(value)}\n\n".encode())
        return answer


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, tuple[str, ...]]]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        yield server, ("--server", f"http://127.0.0.1:{port}", "--token", "t", "--namespace", "shop")
    finally:
        await runner.cleanup()


async def test_a_life(tmp_path: Path) -> None:
    chart = tmp_path / "web-1.0.0.tgz"
    chart.write_bytes(b"\x1f\x8b chart")
    (tmp_path / "values.yaml").write_text("image: {tag: '1', name: web}\nshell: '$(rm -rf /)'\n")
    async with serving() as (server, at):
        flags = ("-f", str(tmp_path / "values.yaml"), "--set", "image.tag='2'", "--expose", "shop-web=a.example.com")
        more = ("--expose", "shop-web=b.example.com", "--expose", "other", "--skip-crds", "--timeout", "2m")
        code, out, err = await weir("install", "web", str(chart), *flags, *more, *at)
        assert (code, out) == (0, "shop/web is installed, revision 2\nThanks[2J\n"), err
        assert err.splitlines()[1:] == ["helm works"]
        document = {
            "name": "web",
            "chart": {"archive": base64.b64encode(b"\x1f\x8b chart").decode()},
            "values": {"image": {"tag": "2", "name": "web"}, "shell": "$(rm -rf /)"},
            "expose": [{"service": "shop-web", "hosts": ["a.example.com", "b.example.com"]}, {"service": "other"}],
            "skip_crds": True,
            "timeout": 120,
        }
        assert server.asked == [("POST", "?wait=true", document)]

        server.asked.clear()
        origin = ("--repo", "https://charts.example.com", "--version", "1.2", "--credentials", "keys", "--no-wait")
        code, out, _ = await weir("upgrade", "web", "shop", *origin, *at)
        assert (code, out.splitlines()[0]) == (0, "shop/web is upgraded, revision 2")
        assert [asked[:2] for asked in server.asked] == [("GET", "/web"), ("PUT", "/web")]
        repository = {"repository": "https://charts.example.com", "name": "shop", "version": "1.2", "credentials": "keys"}
        assert server.asked[1][2] == {"name": "web", "chart": repository, "values": {}, "timeout": 300}
        code, out, _ = await weir("upgrade", "web", "oci://example.com/web", "--install", "--dry-run", *at)
        assert (code, out) == (0, "kind: ConfigMap\n")
        assert server.asked[-1][:2] == ("PUT", "/web?dryRun=All")

        server.asked.clear()
        for number in ((), ("1",)):
            code, out, _ = await weir("rollback", "web", *number, *at)
            assert (code, out.splitlines()[0]) == (0, "shop/web is rolled back, revision 2")
        assert [asked[2] for asked in server.asked] == [{}, {"revision": 1}]
        assert (await weir("delete", "web", *at))[:2] == (0, "shop/web is deleted\n")
        assert (await weir("delete", "web", "--dry-run", *at))[:2] == (0, "shop/web would be deleted\n")


async def test_what_there_is() -> None:
    async with serving() as (server, at):
        code, out, _ = await weir("status", "web", *at)
        assert (code, out.splitlines()[:2]) == (0, ["shop/web", "  revision     2"])
        assert "\x1b" not in out
        assert (await weir("status", "web", "--values", *at))[1] == "a: '1'\n"
        assert json.loads((await weir("status", "web", "-o", "json", *at))[1]) == RELEASE
        assert (await weir("history", "web", *at))[1].split()[:3] == ["REVISION", "UPDATED", "STATUS"]
        out = (await weir("list", *at))[1]
        assert len(out.splitlines()) == 301
        server.count = 0
        assert (await weir("list", *at))[2].splitlines()[-1] == "there are no releases"


async def test_what_is_refused(tmp_path: Path) -> None:
    async with serving() as (server, at):
        for arguments, code, words in (
            (("install", "web", str(tmp_path)), 2, "is a directory: helm package"),
            (("install", "web", "none"), 3, "none: No such file or directory; a chart of a repository needs --repo URL"),
            (("install", "web", "none", "--version", "1"), 2, "a packed chart has its version in it"),
            (("install", "web", "oci://x/y", "--expose", "=x"), 2, "should be SERVICE or SERVICE=HOST"),
            (("install", "web", "oci://x/y", "-f", "none.yaml"), 3, "none.yaml: No such file or directory"),
        ):
            ended, _, err = await weir(*arguments, *at)
            assert (ended, words in err) == (code, True), err
        assert server.asked == []
        server.is_there = False
        code, _, err = await weir("upgrade", "web", "oci://x/y", *at)
        assert (code, err.splitlines()[-1]) == (4, "Not found: there is no release web")
        assert [asked[0] for asked in server.asked] == ["GET"]
        server.answer = web.json_response({"items": [], "next": 0})
        assert (await weir("list", *at))[0] == 1
    assert (await weir("list", "--local"))[:2] == (2, "")
