"""Leases of ports in a running `weir up`, as users type them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system import harness
from tests.system.harness import app, fleet, running_up


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))


def port(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "weir", "port", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout or done.stderr


async def leases() -> dict[str, Any]:
    code, out = await asyncio.to_thread(port, "list", "--output", "json")
    assert code == 0, out
    return {item["name"]: item for item in json.loads(out)}


async def test_an_app_is_reached_by_its_lease_and_others_are_kept(tmp_path: Path) -> None:
    web = {key: value for key, value in app("web", ports=[{"lease": "web"}]).items() if key != "hosts"}
    async with running_up(tmp_path, fleet(web)):
        own = (await leases())["web"]
        assert (own["app"], own["id"]) == ("default/web", f"tcp-{own['port']}")
        reader, writer = await asyncio.open_connection(harness.address, own["port"])
        writer.write(b"GET / HTTP/1.1\r\nHost: any\r\n\r\n")
        async with asyncio.timeout(60):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        code, out = await asyncio.to_thread(port, "lease", "later", "--protocol", "udp")
        assert (code, out.splitlines()[0]) == (0, "default/later is leased")
        again = await asyncio.to_thread(port, "lease", "later", "--protocol", "udp")
        assert again[1].startswith("default/later is leased already")
        later = (await leases())["later"]
        assert (later["protocol"], later["app"]) == ("UDP", None)
        for wrong, code in (
            (("release", "web"), 5),
            (("release", "nobody"), 4),
            (("lease", "a", "--address", "b"), 2),
            (("lease", "Bad Name!"), 2),
        ):
            assert (await asyncio.to_thread(port, *wrong))[0] == code
        assert (await asyncio.to_thread(port, "release", later["id"]))[0] == 0
        assert set(await leases()) == {"web"}
