"""`weir up` as users run it, and a client in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from grpc import aio

from fleet.runtime.address import join_address
from protos.externalscaler import externalscaler_pb2 as pb
from protos.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from tests.support.gate import Gate

__all__ = ["ECHO", "PATIENCE", "Answer", "Gate", "Up", "app", "fetch", "fleet", "gone", "running_up", "start_up", "until"]

ECHO = f"exec {sys.executable} -I -S {Path(__file__).parent / 'apps' / 'echo.py'}"
PATIENCE = 120.0
"""Seconds after which a test gives up; far more than anything here takes on a busy machine."""

address = "127.0.0.1"
"""Where engines listen in this test, and requests go."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    seconds: float


def app(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "hosts": [f"{name}.localhost"], "command": ECHO, "cooldown": 1, "activity_period": 1, **fields}


def fleet(*apps: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A file of apps; what is measured is averaged over little time, so that tests need not wait."""
    return {"poll_interval": 0.2, "scaler": {"concurrency_window": 0.5}, "apps": list(apps), **fields}


async def fetch(
    port: int,
    host: str,
    path: str = "/",
    *fields: str,
    timeout: float = PATIENCE,  # noqa: ASYNC109
    near: str = "",
    method: str = "GET",
) -> Answer:
    """One request on a connection of its own, to the address `near`. Raises for whatever is no answer."""
    near = near or address
    began = time.perf_counter()
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(near, port)
        try:
            head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *fields]
            writer.write("".join(f"{line}\r\n" for line in [*head, ""]).encode())
            answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    return Answer(int(answer.split(None, 2)[1]), body.decode(), time.perf_counter() - began)


async def until(condition: Callable[[], Any], *, timeout: float = PATIENCE, what: str = "") -> float:  # noqa: ASYNC109
    """Wait until the condition holds; gives the seconds that it took."""
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < timeout, f"not after {timeout} s: {what or condition}"
        await asyncio.sleep(0.01)
    return time.perf_counter() - began


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Up:
    """A running `weir up`."""

    def __init__(self, process: subprocess.Popen[str], file: Path, state: Path, log: Path) -> None:
        self.process, self.file, self.state, self._log = process, file, state, log
        self.near = address
        """Where it is reached."""

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    async def logs(self, *texts: str) -> None:
        """Wait until all of them are in the log, which comes from other processes, after what can be seen of them."""
        for text in texts:
            await until(lambda: text in self.log, what=f"{text!r} in the log")  # noqa: B023 - it is awaited here

    def components(self, kind: str = "") -> list[dict[str, Any]]:
        every: list[dict[str, Any]] = json.loads((self.state / "components.json").read_text())
        return [component for component in every if kind in ("", component["kind"])]

    @property
    def ports(self) -> list[int]:
        return [component["proxy_port"] for component in self.components("interceptor")]

    @property
    def port(self) -> int:
        return self.ports[0]

    def backends(self, name: str) -> list[int]:
        return [port for _, port in self.addresses(name)]

    def addresses(self, name: str) -> list[tuple[str, int]]:
        backends = json.loads((self.state / "backends.json").read_text())["backends"]
        return [(backend["host"], backend["port"]) for backend in backends.get(f"default/{name}", [])]

    def members(self) -> list[str]:
        return [member["name"] for member in json.loads((self.state / "members.json").read_text())["members"]]

    def write(self, fleet: Mapping[str, Any] | str) -> None:
        """Edit the file as an editor would."""
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(fleet if isinstance(fleet, str) else yaml.safe_dump(dict(fleet)))
        fresh.replace(self.file)

    def processes(self) -> list[int]:
        """Everything that was started, the reaper included."""
        return [process.pid for process in psutil.Process(self.process.pid).children(recursive=True)]

    async def value(self, name: str) -> float:
        """What the scaler tells KEDA of an app."""
        (scaler,) = self.components("scaler")
        ref = pb.ScaledObjectRef(name=name, namespace="default", scalerMetadata={"app": f"default/{name}"})
        async with aio.insecure_channel(join_address(self.near, scaler["port"])) as channel:
            stub = ExternalScalerStub(channel)
            specs = await stub.GetMetricSpec(ref, timeout=60)
            request = pb.GetMetricsRequest(scaledObjectRef=ref, metricName=specs.metricSpecs[0].metricName)
            answer = await stub.GetMetrics(request, timeout=60)
        return answer.metricValues[0].metricValueFloat

    async def until_value(self, name: str, value: float, *, timeout: float = PATIENCE) -> float:  # noqa: ASYNC109
        began = time.perf_counter()
        while (seen := await self.value(name)) != value:
            assert time.perf_counter() - began < timeout, f"{name} is {seen}, not {value}, after {timeout} s"
            await asyncio.sleep(0.05)
        return time.perf_counter() - began

    async def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    def end(self) -> None:
        """End it, if it still runs, and wait for that."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


async def start_up(directory: Path, fleet: Mapping[str, Any] | Path, *flags: str) -> Up:
    """Run a file; returns when it serves. Whoever calls ends it."""
    file = fleet if isinstance(fleet, Path) else directory / "fleet.yaml"
    if not isinstance(fleet, Path):
        file.write_text(yaml.safe_dump(dict(fleet)))
    state, log = directory / "state", directory / "weir.log"
    command = [sys.executable, "-m", "weir", "up", str(file), "--port", "0", "--no-ui", "--state-dir", str(state), *flags]
    if "--host" not in flags and address != "127.0.0.1":
        command += ["--host", address]
    with log.open("w") as stderr:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)  # noqa: ASYNC220
    up = Up(process, file, state, log)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE)
        assert line == "ready\n", f"{line!r}\n{up.log}"
    except BaseException:
        sys.stderr.write(up.log)
        up.end()
        raise
    return up


@contextlib.asynccontextmanager
async def running_up(directory: Path, fleet: Mapping[str, Any] | Path, *flags: str) -> AsyncIterator[Up]:
    """Run a file until the block ends; serves when the block begins."""
    up = await start_up(directory, fleet, *flags)
    try:
        yield up
    except BaseException:
        sys.stderr.write(up.log)
        raise
    finally:
        await asyncio.to_thread(up.end)
