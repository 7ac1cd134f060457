"""What `weir ps` and its like say of ports, as users read it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.system import harness
from tests.system.harness import ECHO, app, fleet, running_up


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "weir", *arguments], capture_output=True, text=True, timeout=120, check=False)


async def _weir(*arguments: str) -> str:
    done = await asyncio.to_thread(_run, *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout or done.stderr


async def _apps() -> dict[str, Any]:
    return {row["app"]: row for row in json.loads(await _weir("ps", "-o", "json"))}


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_a_port_that_another_program_has_is_told_where_its_app_is_shown(tmp_path: Path, flags: tuple[str, ...]) -> None:
    with socket.create_server((harness.address, 0)) as other:
        number = other.getsockname()[1]
        taken = {"name": "taken", "command": ECHO, "ports": [{"port": number}, {"port": free_port()}]}
        beside = {"name": "beside", "outside": {"addresses": ["127.0.0.1"], "port": 9}, "ports": [{"port": free_port()}]}
        async with running_up(tmp_path, fleet(taken, beside, app("web")), *flags) as up:
            shown = await _apps()
            trouble = shown["default/taken"]["trouble"]
            assert trouble.startswith(f"TCP port {number}: "), trouble
            assert shown["default/taken"]["state"] == f"asleep; {trouble}"
            assert (shown["default/web"]["trouble"], shown["default/web"]["state"]) == ("", "asleep")
            assert (shown["default/beside"]["trouble"], shown["default/beside"]["state"]) == ("", "outside")
            assert f"asleep; {trouble}" in await _weir("ps")
            assert trouble in await _weir("app", "show", "taken", "--of", str(up.file))
            explained = (await _weir("explain", f"{harness.address}:{number}")).splitlines()
            assert explained[1:] == [f"has trouble now: {trouble}", "-> default/taken"]
            other.close()
            async with asyncio.timeout(60):
                while (await _apps())["default/taken"]["trouble"]:
                    pass


async def test_ports_are_shown_with_the_numbers_of_leases(tmp_path: Path) -> None:
    number = free_port()
    ports = [{"port": number, "server_names": ["a.test"]}, {"lease": "names", "protocol": "UDP"}]
    async with running_up(tmp_path, fleet({"name": "both", "command": ECHO, "ports": ports}, app("web"))) as up:
        rows = await _apps()
        tcp, udp = rows["default/both"]["ports"]
        assert tcp == {"protocol": "TCP", "port": number, "lease": None, "server_names": ["a.test"]}
        leased = json.loads(await _weir("port", "list", "--output", "json"))
        assert udp == {"protocol": "UDP", "port": leased[0]["port"], "lease": "names", "server_names": []}
        assert rows["default/web"]["ports"] == []
        head, both, web = (await _weir("ps")).splitlines()
        assert head.split()[-3:] == ["pids", "ports", "state"]
        assert f"  TCP {number}, UDP {udp['port']}  asleep" in both
        assert web.split()[-2:] == ["-", "asleep"]
        up.write(fleet(app("web")))
        async with asyncio.timeout(60):
            while "ports" in (await _weir("ps")).splitlines()[0]:
                pass
