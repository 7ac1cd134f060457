"""Fewer replicas, or others: requests that are under way are finished where they are, and run once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fleet.runtime.address import join_address
from tests.support.ports import unbound_port
from tests.system.harness import Answer, Gate, Up, app, fetch, fleet, running_up, until

FLAGS = pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])


def _at(up: Up) -> dict[int, int]:
    """Exchanges at each backend of the app, by its port, over all interceptors."""
    found: dict[int, int] = {}
    for component in up.components("interceptor"):
        place = join_address(up.near, component["diagnostics_port"])
        with urllib.request.urlopen(f"http://{place}/backends", timeout=60) as page:
            for backend in json.load(page).get("default/web", {"backends": []})["backends"]:
                found[backend["port"]] = found.get(backend["port"], 0) + backend["in_flight"]
    return found


async def _busy(up: Up, count: int) -> dict[int, int]:
    """Once so many replicas are busy."""
    while len(busy := {port: at for port, at in (await asyncio.to_thread(_at, up)).items() if at}) != count:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return busy


@contextlib.asynccontextmanager
async def _under_way(up: Up, gate: Gate, method: str = "GET") -> AsyncIterator[asyncio.Task[Answer]]:
    task = asyncio.create_task(fetch(up.port, "web.localhost", gate.path, "Content-Length: 0", method=method))
    try:
        yield task
    finally:
        gate.open()
        await asyncio.gather(task, return_exceptions=True)


def _gates(directory: Path, count: int) -> list[Gate]:
    folders = [directory / f"gate{number}" for number in range(count)]
    for folder in folders:
        folder.mkdir()
    return [Gate(folder) for folder in folders]


def _web(**fields: Any) -> dict[str, Any]:
    return app("web", min=1, max=2, target=1, backend_concurrency=1, scale_down_window=0.1, **fields)


@FLAGS
async def test_of_two_replicas_the_idle_one_is_stopped_whichever_is_older(tmp_path: Path, flags: tuple[str, ...]) -> None:
    first, second = _gates(tmp_path, 2)
    async with running_up(tmp_path, fleet(_web()), *flags) as up, _under_way(up, first) as one:
        (older,) = await _busy(up, 1)
        async with _under_way(up, second, "POST") as two:
            await _busy(up, 2)
            first.open()
            assert (await one).status == 200
            await until(lambda: len(up.backends("web")) == 1, what="one replica is stopped")
            assert up.backends("web") == list(await _busy(up, 1))
            assert older not in up.backends("web")
            await until(lambda: up.log.count(": ended") == 1)
            second.open()
            assert (await two).status == 200


@FLAGS
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("edit", ["another process", "none"])
async def test_a_request_under_way_outlives_the_edit_that_takes_its_replica(
    tmp_path: Path, flags: tuple[str, ...], method: str, edit: str
) -> None:
    (gate,) = _gates(tmp_path, 1)
    edited = fleet(app("other"), *([_web(env={"VERSION": "2"})] if edit != "none" else []))
    async with running_up(tmp_path, fleet(_web(env={"VERSION": "1"})), *flags) as up, _under_way(up, gate, method) as answer:
        await _busy(up, 1)
        (port,) = up.backends("web")
        up.write(edited)
        await until(lambda: port not in up.backends("web"), what="nothing new goes there")
        assert list(await _busy(up, 1)) == [port]
        assert not answer.done()
        gate.open()
        assert ((await answer).status, (await answer).body[-1:]) == (200, "1")
        await until(lambda: ": ended" in up.log, what="the replica ends as soon as it has nothing to do")


@FLAGS
async def test_an_end_is_not_longer_than_the_drain(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (gate,) = _gates(tmp_path, 1)
    async with running_up(tmp_path, fleet(_web(drain=0.2)), *flags) as up, _under_way(up, gate, "POST") as answer:
        await _busy(up, 1)
        up.write(fleet(app("other")))
        assert (await answer).status == 502
        await up.logs("ends with 1 requests in hand after 0.2 s")


async def test_an_app_with_a_port_of_its_own_has_one_replica_and_changes_by_turns(tmp_path: Path) -> None:
    (gate,) = _gates(tmp_path, 1)
    port = unbound_port()
    one, other = (app("web", port=port, target=1, min=1, max=1, env={"VERSION": version}) for version in "12")
    async with running_up(tmp_path, fleet(one)) as up, _under_way(up, gate) as answer:
        await _busy(up, 1)
        assert up.backends("web") == [port]
        held = asyncio.create_task(fetch(up.port, "web.localhost"))
        up.write(fleet(other))
        await until(lambda: not up.backends("web"), what="nothing new goes to the old one")
        gate.open()
        assert (await answer).body.endswith("1")
        await until(lambda: up.backends("web") == [port], what="the new one has the port")
        assert (await held).status == 200
        assert (await fetch(up.port, "web.localhost")).body.endswith("2")
        assert up.log.count("starts again") == 0
