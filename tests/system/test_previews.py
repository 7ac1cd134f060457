"""Previews of `weir up`: a chain of three services, with copies of some of them, which sleep at zero and wake one after the
other."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.support.preview_chain import CLIENTS, COPIES, PASSES, PREVIEWS, SERVICES, answer, table
from tests.system import harness
from tests.system.harness import app, fetch, fleet, running_up, until

APPS = Path(__file__).parent / "apps"
CHAIN = f"exec {sys.executable} -I -S {APPS / 'chain.py'}"
CHAIN_RPC = f"exec {sys.executable} {APPS / 'chain_rpc.py'}"
KEY = "uber-ctx-key"
EVERY = ("web", "web--f1", "api", "api--f1", "api--f2", "db", "db--f1")


def chained(directory: Path) -> list[dict[str, Any]]:
    """web calls api, which calls db: f1 has copies of all three, f2 one of api alone."""
    components = str(directory / "state" / "components.json")

    def service(name: str, following: str | None, *copies: str) -> dict[str, Any]:
        env = {
            "COMPONENTS": components,
            "NEAR": harness.address,
            "VERSION": name,
            **({} if following is None else {"NEXT": f"{following}.localhost"}),
        }
        previews = {"cookie": "preview", "copies": {copy: {"env": {"VERSION": f"{name}@{copy}"}} for copy in copies}}
        return app(name, command=CHAIN, env=env, previews=previews)

    return [service("web", "api", "f1"), service("api", "db", "f1", "f2"), service("db", None, "f1")]


async def test_a_chain_of_services_with_copies_of_some(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(*chained(tmp_path))) as up:

        def awake() -> set[str]:
            return {name for name in EVERY if up.backends(name)}

        assert awake() == set()
        whole = "web@f1 f1 > api@f1 f1 > db@f1 f1"
        assert (await fetch(up.port, "f1.web.localhost")).body == whole
        assert awake() == {"web--f1", "api--f1", "db--f1"}
        assert (await fetch(up.port, "web.localhost", "/", f"{KEY}: f1")).body == whole
        assert (await fetch(up.port, "web.localhost", "/", "Cookie: preview=f1")).body == whole
        await until(lambda: not awake(), what="asleep again")
        assert (await fetch(up.port, "web.localhost")).body == "web None > api None > db None"
        assert awake() == {"web", "api", "db"}
        # Of f2 only the second service differs, so that exactly one more wakes.
        part = "web f2 > api@f2 f2 > db f2"
        assert (await fetch(up.port, "web.localhost", "/", f"{KEY}: f2")).body == part
        assert {"api--f2"} <= awake() <= {"web", "api", "db", "api--f2"}
        assert (await fetch(up.port, "f2.web.localhost")).body == part
        assert (await fetch(up.port, "web.localhost", "/", f"{KEY}: nothing")).body == "web nothing > api nothing > db nothing"
        await until(lambda: not awake(), what="all asleep again")


async def test_previews_come_and_go_with_the_file(tmp_path: Path) -> None:
    (web, *others) = chained(tmp_path)
    async with running_up(tmp_path, fleet(web, *others)) as up:
        changed = {**web, "previews": {"unknown": "refuse", "copies": {"f9": {"env": {"VERSION": "web@f9"}}}}}
        up.write(fleet(changed, *others))
        await until(lambda: "web--f9" in (up.state / "routes.json").read_text(), what="the new preview")
        assert (await fetch(up.port, "f9.web.localhost")).body == "web@f9 f9 > api f9 > db f9"
        assert (await fetch(up.port, "f1.web.localhost")).status == 404


async def test_the_list_of_previews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command that lists those of a cluster, and in `weir ps`."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    async with running_up(tmp_path, fleet(*chained(tmp_path))) as up:
        await fetch(up.port, "f1.web.localhost", "/", "uber-ctx-key: f1")

        async def weir(*arguments: str) -> tuple[int | None, str, str]:
            command = (sys.executable, "-m", "weir", *arguments)
            ended = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=dict(os.environ))
            out, err = await asyncio.wait_for(ended.communicate(), 120)
            return ended.returncode, out.decode(), err.decode()

        code, out, err = await weir("preview", "list", "--of", str(up.file))
        head, *rows = out.splitlines()
        assert (code, err.splitlines()) == (0, [f"on weir up {up.file}"])
        assert head.split() == ["NAME", "BASE", "PREVIEW", "STATE", "LAST", "USED", "LEFT", "URL", "REASON"]
        found = {row.split()[0]: row.split()[1:] for row in rows}
        assert set(found) == {"web--f1", "api--f1", "api--f2", "db--f1"}
        base, name, state, used, left, url = found["web--f1"]
        assert (base, name, state in ("awake", "falling-asleep", "asleep"), left) == ("web", "f1", True, "-")
        assert used.endswith("Z")
        assert url == f"http://f1.web.localhost:{up.port}/"
        assert found["api--f2"][:5] == ["api", "f2", "asleep", "-", "-"]
        code, out, _ = await weir("preview", "show", "f1", "--base", "web", "-o", "json")
        shown = json.loads(out)
        assert (code, shown["id"], shown["base"], shown["name"], shown["file"]) == (0, "web--f1", "web", "f1", str(up.file))
        code, out, err = await weir("preview", "show", "web", "--of", str(up.file))
        assert (code, out, err.splitlines()[-1]) == (4, "", f"there is no preview web in weir up {up.file}")
        assert (await weir("preview", "create", "--base", "web", "--name", "f9"))[0] == 2
        _, out, _ = await weir("ps", "-o", "json")
        told = {app["app"]: (app["base"], app["preview"], bool(app["last_used"])) for app in json.loads(out)}
        assert told["default/web--f1"] == ("web", "f1", True)
        assert told["default/api--f2"] == ("api", "f2", False)
        assert told["default/web"] == ("", "", False)


def by_table(directory: Path, kind: str) -> list[dict[str, Any]]:
    """The services of tests/support/preview_chain.py. They stay awake once they are."""
    own: dict[str, Any] = {"command": CHAIN_RPC, "app_protocol": "grpc"} if kind == "grpc" else {"command": CHAIN}
    made = []
    for name, following in zip(SERVICES, (*SERVICES[1:], None), strict=True):
        env = {"COMPONENTS": str(directory / "state" / "components.json"), "NEAR": harness.address, "VERSION": name}
        env |= {} if following is None else {"NEXT": f"{following}.localhost", "PASSES": PASSES[name]}
        copies = {copy: {"env": {"VERSION": f"{name}@{copy}"}} for copy in COPIES[name]}
        made.append(app(name, env=env, previews={**PREVIEWS, "copies": copies}, **own | {"cooldown": 600}))
    return made


@pytest.mark.parametrize("kind", CLIENTS)
async def test_the_table_of_requests_in_each_protocol(tmp_path: Path, kind: str) -> None:
    async with running_up(tmp_path, fleet(*by_table(tmp_path, kind))) as up:

        def awake() -> set[str]:
            return {name for name in EVERY if up.backends(name)}

        clients = CLIENTS[kind]
        first = next(iter(clients.values()))
        # From sleep: the copy of the second service wakes in place of it, and the others as for everybody.
        assert await first(harness.address, up.port, "f2.web.localhost", {}) == answer("f2")
        assert awake() == {"web", "api--f2", "db"}
        for protocol, ask in clients.items():
            for asked in table(lambda name: f"{name}.localhost"):
                found = await ask(harness.address, up.port, asked.host, asked.fields)
                assert found == asked.answer, (protocol, asked)
        assert awake() == {"web", "web--f1", "api", "api--f1", "api--f2", "db"}
