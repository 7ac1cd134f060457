"""`weir up` on addresses of both families: the way of a request, and of what is counted, from end to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleet.runtime.address import join_address
from tests.system.harness import PATIENCE, app, fetch, fleet, running_up, until


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
@pytest.mark.parametrize(("host", "near"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("0.0.0.0", "127.0.0.1")])
async def test_an_app_wakes_is_counted_and_sleeps(tmp_path: Path, host: str, near: str, flags: tuple[str, ...]) -> None:
    async with running_up(tmp_path, fleet(app("web", target=1)), "--host", host, *flags) as up:
        up.near = near
        assert (await fetch(up.port, "web.localhost", near=near)).status == 200
        assert len(up.backends("web")) == 1
        await up.until_value("web", 0.0)
        (interceptor,) = up.components("interceptor")
        command = [sys.executable, "-m", "weir", "queue", join_address(near, interceptor["rpc_port"]), "--json"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: ASYNC221
        assert '"app": "default/web", "held": 0' in asked.stdout, asked.stderr
        await until(lambda: not up.backends("web"))


@pytest.mark.parametrize("command", [("queue",), ("explain", "web", "/", "--address")])
def test_an_address_without_brackets_is_reported(command: tuple[str, ...]) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "weir", *command, "::1:9090"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert asked.returncode != 0
    assert "is not \"host:port\"; write '[::1]:9090' for an IPv6 address" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


@pytest.mark.parametrize("readiness", [{}, {"path": "/"}], ids=["port", "path"])
async def test_an_app_on_the_other_loopback_address_is_found_there(tmp_path: Path, readiness: dict[str, str]) -> None:
    async with running_up(tmp_path, fleet(app("web", env={"LISTEN": "::1"}, readiness=readiness, readiness_path="/"))) as up:
        assert (await fetch(up.port, "web.localhost")).status == 200
        assert [host for host, _ in up.addresses("web")] == ["::1"]
