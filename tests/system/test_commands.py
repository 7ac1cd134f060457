"""The other commands, and what `weir` says when it cannot start."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.harness import Gate, app, fetch, fleet, running_up


def _weir(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "weir", *arguments], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
def test_everything_that_is_wrong_in_a_file_is_reported(tmp_path: Path, flags: tuple[str, ...]) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("apps:\n- name: a\n  hosts: [a]\n  comand: x\n- name: b\n  hosts: [b]\n  command: x\n  max: -1\n")
    ended = _weir("up", str(file), "--no-ui", *flags)
    assert ended.returncode == 3
    assert ended.stderr == (
        f"{file}:4: apps[0].comand: is not a field; did you mean command?\n{file}:8: apps[1].max: should be at least 1\n"
    )
    assert ended.stdout == ""


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    ended = _weir("up", str(tmp_path / "none.yaml"))
    assert ended.returncode == 3
    assert ended.stderr == f"{tmp_path / 'none.yaml'}: No such file or directory\n"


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
def test_a_port_in_use_is_reported(tmp_path: Path, flags: tuple[str, ...]) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("apps: [{name: a, hosts: [a], command: sleep 100, min: 1}]\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = _weir("up", str(file), "--no-ui", "--port", str(port), *flags)
    assert ended.returncode == 3
    assert f"127.0.0.1:{port}" in ended.stderr.splitlines()[-1]
    assert "No such file" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("component", ["interceptor", "scaler"])
def test_a_component_that_is_set_wrongly_says_so(component: str) -> None:
    ended = _weir(component, "--log-level=info", "--no-such-flag=1")
    assert ended.returncode == 3
    assert "no-such-flag" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_an_interceptor_does_not_start_without_knowing_whom_to_trust() -> None:
    ended = _weir("interceptor", "--trusted-proxies", "10.0.0.0/8,lan")
    assert ended.returncode == 3
    assert "--trusted-proxies: " in ended.stderr
    assert ended.stderr.endswith("'lan' is neither an address nor a network, nor private, all or none\n")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("component", ["interceptor", "scaler"])
def test_a_component_tells_its_flags(component: str) -> None:
    ended = _weir(component, "--help")
    assert ended.returncode == 0
    assert "--diagnostics-port" in ended.stdout


async def test_queue_prints_what_is_held_and_carried(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web", min=1), app("other"), interceptors=2)) as up:
        await fetch(up.port, "web.localhost")
        gate = Gate(tmp_path)
        slow = [asyncio.create_task(fetch(port, "web.localhost", gate.path)) for port in up.ports]
        await up.until_value("web", 2.0)
        addresses = [f"127.0.0.1:{component['rpc_port']}" for component in up.components("interceptor")]
        ended = await asyncio.to_thread(_weir, "queue", "--json", *addresses)
        assert ended.returncode == 0
        sizes = json.loads(ended.stdout)
        assert sizes["members"] == ["interceptor-1", "interceptor-2"]
        (web,) = [size for size in sizes["apps"] if size["app"] == "default/web"]
        assert web == {
            "app": "default/web", "held": 0, "in_flight": 2, "connections": 0, "requests_total": 3, "busy": 0, "busy_by_call": 0,
            "dropped_total": 0,
        }  # fmt: skip
        table = (await asyncio.to_thread(_weir, "queue", *addresses)).stdout
        assert "default/web" in table
        gate.open()
        await asyncio.gather(*slow)


def test_queue_names_interceptors_that_do_not_answer() -> None:
    ended = _weir("queue", "127.0.0.1:1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("127.0.0.1:1: UNAVAILABLE nobody listens there; ")
    assert ended.stderr.count("\n") == 1


def test_explain_tells_of_a_file_that_is_not_there() -> None:
    ended = _weir("explain", "web.localhost", "--file", "/does/not/exist.yaml")
    assert (ended.returncode, ended.stderr) == (3, "/does/not/exist.yaml: No such file or directory\n")


async def test_explain_tells_the_route_and_why(tmp_path: Path) -> None:
    api = app("api", hosts=["web.localhost"], paths=["/api"], headers=[{"name": "X-Env", "value": "blue"}])
    async with running_up(tmp_path, fleet(app("web", placeholder=True), api)) as up:
        address = f"127.0.0.1:{up.components('interceptor')[0]['rpc_port']}"
        sources = (["--address", address], ["--file", str(up.state / "routes.json")], ["--file", str(up.file)])
        for source in sources:
            taken = await asyncio.to_thread(_weir, "explain", "WEB.localhost:80", "/api/x?y", "-H", "x-env: blue", *source)
            assert taken.returncode == 0, taken.stderr
            assert taken.stdout.splitlines()[-1] == "-> default/api"
            passed = await asyncio.to_thread(_weir, "explain", "web.localhost", "/api", *source)
            before, last = passed.stdout.splitlines()[-2:]
            assert last == "-> default/web"
            assert before == "placeholder: answers 503 to browsers while no backend is ready"
        none = await asyncio.to_thread(_weir, "explain", "nobody.localhost", "--address", address)
        assert none.returncode == 1
        assert none.stdout.splitlines()[-1] == "-> no route (404)"


def test_explain_without_a_table(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text("{")
    for source in (["--file", str(tmp_path / "wrong.json")], ["--file", str(tmp_path / "no")], ["--address", "127.0.0.1:1"]):
        ended = _weir("explain", "a", "/", *source)
        assert ended.returncode == 3
        assert len(ended.stderr.splitlines()) == 1
