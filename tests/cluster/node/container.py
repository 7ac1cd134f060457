"""One container as one process: restarted when it ends, probed, and terminated with a grace period."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tests.cluster.api import Object
from tests.cluster.node.probes import probe, run_inside
from tests.cluster.node.spec import SpecError, port_number

__all__ = ["Container", "Start", "timestamp"]

EAGER = 0.1
"""Seconds between probes before the first success. A real node probes less often; tests would only wait longer."""
BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a restart; shorter than on a real node."""


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Start:
    """How to start a container."""

    argv: Sequence[str]
    env: dict[str, str]
    cwd: Path
    log: Path


class Container:
    """run() returns when the container ends. changed() is called when its status changes, told(event) for the node's log."""

    def __init__(self, spec: Object, address: str, *, changed: Callable[[], None], told: Callable[[str, int], None]) -> None:
        self.spec, self.ready, self.started, self.restarts = spec, False, False, 0
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Object = {}
        self._address, self._changed, self._told = address, changed, told
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    def refuse(self, reason: str, message: str) -> None:
        state = {"waiting": {"reason": reason, "message": message}}
        if state != self.state:
            self._set(state)

    async def run(self, start: Start, policy: str) -> None:
        """Run until `end` is called, or the process ends and the policy does not restart it."""
        while True:
            code = await self._live(start)
            if self._ending or policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            await asyncio.sleep(BACKOFF[min(self.restarts, len(BACKOFF) - 1)])
            if self._ending:
                return
            self.restarts += 1

    async def end(self, grace: float) -> None:
        """Run preStop, send SIGTERM, and SIGKILL after the grace period."""
        self._ending = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + grace):
                await self._pre_stop(process.pid)
                self._signal(signal.SIGTERM)
                await process.wait()
        except TimeoutError:
            self._told("killed", process.pid)
        self._signal(signal.SIGKILL)
        await process.wait()

    def kill(self) -> None:
        self._ending = True
        self._signal(signal.SIGKILL)

    async def _live(self, start: Start) -> int:
        with start.log.open("ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *start.argv,
                env=start.env,
                cwd=start.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._told("started", process.pid)
        self._set({"running": {"startedAt": timestamp()}})
        watcher = asyncio.create_task(self._probe(process.pid), name=f"probes of {self.name}")
        try:
            code = await process.wait()
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
            self._signal(signal.SIGKILL)  # remaining processes of its group
        self._told("exited", process.pid)
        self.ready = self.started = False
        reason = "Completed" if code == 0 else "Error"
        self._set({"terminated": {"exitCode": code if code >= 0 else 128 - code, "reason": reason, "finishedAt": timestamp()}})
        return code

    async def _probe(self, pid: int) -> None:
        startup = self.spec.get("startupProbe")
        if startup is not None and not await self._until_started(startup, pid):
            return
        self.started = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._readiness(pid))
            if "livenessProbe" in self.spec:
                group.create_task(self._liveness(self.spec["livenessProbe"], pid))

    async def _until_started(self, wanted: Object, pid: int) -> bool:
        deadline = (
            time.monotonic()
            + wanted.get("initialDelaySeconds", 0)
            + wanted.get("failureThreshold", 3) * wanted.get("periodSeconds", 10)
        )
        while not await self._ask(wanted, pid):
            if time.monotonic() > deadline:
                self._give_up(pid, "startup")
                return False
            await asyncio.sleep(EAGER)
        return True

    async def _readiness(self, pid: int) -> None:
        wanted = self.spec.get("readinessProbe")
        if wanted is None:
            self._become(ready=True)
            return
        await asyncio.sleep(wanted.get("initialDelaySeconds", 0))
        failures, period = 0, float(wanted.get("periodSeconds", 10))
        while True:
            if await self._ask(wanted, pid):
                failures = 0
                self._become(ready=True)
            else:
                failures += 1
                if failures >= wanted.get("failureThreshold", 3):
                    self._become(ready=False)
            await asyncio.sleep(period if self.ready else min(period, EAGER))

    async def _liveness(self, wanted: Object, pid: int) -> None:
        await asyncio.sleep(wanted.get("initialDelaySeconds", 0))
        failures = 0
        while failures < wanted.get("failureThreshold", 3):
            await asyncio.sleep(float(wanted.get("periodSeconds", 10)))
            failures = 0 if await self._ask(wanted, pid) else failures + 1
        self._give_up(pid, "liveness")

    async def _ask(self, wanted: Object, pid: int) -> bool:
        return await probe(wanted, self.spec, self._address, pid)

    def _give_up(self, pid: int, which: str) -> None:
        self._told(f"failed its {which} probe", pid)
        self._signal(signal.SIGTERM)

    def _become(self, *, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._told("ready" if ready else "not ready", self._process.pid if self._process else 0)
            self._changed()

    def _set(self, state: Object) -> None:
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = state
        self._changed()

    async def _pre_stop(self, pid: int) -> None:
        hook = self.spec.get("lifecycle", {}).get("preStop", {})
        if "sleep" in hook:
            await asyncio.sleep(float(hook["sleep"]["seconds"]))
        elif "exec" in hook:
            await run_inside(pid, hook["exec"]["command"])
        elif "httpGet" in hook:
            wanted = hook["httpGet"]
            url = f"http://{self._address}:{port_number(self.spec, wanted['port'])}{wanted.get('path', '/')}"
            with contextlib.suppress(httpx.HTTPError):
                async with httpx.AsyncClient(trust_env=False, timeout=None) as client:  # noqa: S113 - the grace is the limit
                    await client.get(url)
        elif hook:
            raise SpecError(f"preStop {sorted(hook)} is not known here")

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
