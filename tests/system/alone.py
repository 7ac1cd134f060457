"""One interceptor as a process of its own, whose routes and backends the test decides, and which is only seen from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from fleet.discovery.files import write_backends, write_routes
from fleet.discovery.sources import Backend
from fleet.routing.route import Route
from fleet.routing.table import RoutingTable
from tests.support.ports import KeptPort
from tests.system.harness import PATIENCE, fetch

__all__ = ["Alone", "alone"]


class Alone:
    """A running `weir interceptor`."""

    def __init__(self, directory: Path, routes: Sequence[Route], backends: Mapping[str, Sequence[Backend]]) -> None:
        self.directory = directory
        self._ports = [KeptPort() for _ in range(3)]
        self.port, self.rpc_port, self.diagnostics_port = (port.number for port in self._ports)
        self.routes(routes)
        self.backends(backends)

    async def start(self, *flags: str) -> None:
        command = [sys.executable, "-m", "weir", "interceptor", "--host", "127.0.0.1", "--member-name", "alone"]
        command += ["--proxy-port", str(self.port), "--rpc-port", str(self.rpc_port)]
        command += ["--diagnostics-port", str(self.diagnostics_port)]
        command += ["--routes", f"file:{self.directory}/routes.json", "--backends", f"file:{self.directory}/backends.json"]
        with (self.directory / "interceptor.log").open("w") as log:
            self.process = await asyncio.create_subprocess_exec(*command, *flags, stderr=log)
        self.seen = psutil.Process(self.process.pid)
        try:
            await self.until(lambda: " serves on port " in self.log)
        except BaseException:
            await self.stop()
            raise

    @property
    def log(self) -> str:
        return (self.directory / "interceptor.log").read_text(errors="replace")

    def routes(self, routes: Sequence[Route]) -> None:
        write_routes(self.directory / "routes.json", RoutingTable(routes))

    def backends(self, backends: Mapping[str, Sequence[Backend]]) -> None:
        """What discovery lists from now on, by target."""
        write_backends(self.directory / "backends.json", backends)

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        return int(self.seen.memory_info().rss)

    @property
    def descriptors(self) -> int:
        return self.seen.num_fds()

    async def queue(self, app: str) -> dict[str, Any]:
        """What it would tell a scaler of an application."""
        sizes = json.loads((await fetch(self.diagnostics_port, "localhost", "/queue", near="127.0.0.1")).body)
        return dict(sizes.get(app, {"held": 0, "in_flight": 0, "connections": 0}))

    async def until_queue(self, app: str, *, timeout: float = PATIENCE, **wanted: int) -> float:  # noqa: ASYNC109
        """Wait until it tells exactly that. Gives the seconds that it took."""
        began = perf_counter()
        while wanted.items() - (seen := await self.queue(app)).items():
            assert perf_counter() - began < timeout, f"{seen}, not {wanted}, after {timeout} s"
        return perf_counter() - began

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        text = (await fetch(self.diagnostics_port, "localhost", "/metrics", near="127.0.0.1")).body
        found = [line.rpartition(" ") for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] == name]
        return sum(float(value) for key, _, value in found if all(f'{label}="{is_}"' in key for label, is_ in labels.items()))

    async def until(self, condition: Any, *, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109
        began = perf_counter()
        while not condition():
            assert self.process.returncode is None, f"ended with {self.process.returncode}\n{self.log}"
            assert perf_counter() - began < timeout, f"not after {timeout} s\n{self.log}"
            await asyncio.sleep(0.01)

    async def ends(self, *, within: float) -> int:
        """Its exit code."""
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def stop(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        for port in self._ports:
            port.release()


@contextlib.asynccontextmanager
async def alone(
    directory: Path, *routes: Route, backends: Mapping[str, Sequence[Backend]] | None = None, **settings: float
) -> AsyncIterator[Alone]:
    """An interceptor until the block ends; serves when it begins. Settings are flags by another spelling."""
    running = Alone(directory, routes, backends or {})
    await running.start(*(f"--{name.replace('_', '-')}={value}" for name, value in settings.items()))
    try:
        yield running
    except BaseException:
        sys.stderr.write(running.log)
        raise
    finally:
        await running.stop()
