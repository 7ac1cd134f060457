"""One replica of an app: a supervised process with its own port.

Does not decide how many replicas there are (autoscaler.py), nor when its address is published (app.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fleet.discovery.sources import Backend
from fleet.runtime.address import LOOPBACKS
from weir.engine.check import Check
from weir.engine.child import Launch, SpawnError
from weir.engine.ports import NoPortError, with_port
from weir.engine.probe import Probe
from weir.engine.spec import AppSpec
from weir.engine.supervisor import Job, ProcessContext, State, Supervisor

__all__ = ["Replica"]

RESTART_FIRST, RESTART_LIMIT = 0.25, 30.0
"""Shortest and longest pause in seconds before a failed process is restarted: short at first, because a request may be
waiting; later long, because a process that fails at once would only cost CPU."""

BUSY_URL, BUSY_TOKEN = "WEIR_BUSY_URL", "WEIR_BUSY_TOKEN"  # names of variables


class Replica:
    """A process of an app. `on_change` is called when its state changes by itself."""

    def __init__(
        self, spec: AppSpec, number: int, directory: Path, *, context: ProcessContext, on_change: Callable[[], None]
    ) -> None:
        self.spec, self.number = spec, number
        self.generation = 0
        """The app's count of manual restarts when this replica was created."""
        self._directory, self._context = directory, context
        self._port: int | None = None
        self._busy_token = ""
        self._on_change = on_change
        job = Job(
            name=f"{spec.key}: replica {number}",
            speaker=f"{spec.name}/{number}",
            launch=self._launch,
            readiness_timeout=spec.readiness.timeout,
            restart_first=RESTART_FIRST,
            restart_limit=RESTART_LIMIT,
            port_in_environment=True,
        )
        self._supervisor = Supervisor(job, context, on_change=self._changed)

    @property
    def state(self) -> State:
        return self._supervisor.state

    @property
    def failures(self) -> int:
        return self._supervisor.failures

    @property
    def reason(self) -> str:
        """Why the replica is not ready; empty when it is ready or starts normally."""
        return self._supervisor.reason

    @property
    def pid(self) -> int | None:
        return self._supervisor.pid

    @property
    def backend(self) -> Backend | None:
        """The address for requests; None while it must not get any."""
        address = self._supervisor.address
        return None if address is None else Backend(*address, app_protocol=self.spec.app_protocol)

    def start(self) -> None:
        """Start the process, before this call returns."""
        self._supervisor.start()

    def withdraw(self) -> None:
        """Remove its address from the backends. `end` must follow."""
        self._supervisor.withdraw()

    async def end(self, drained: Callable[[], Awaitable[None]] | None = None) -> None:
        """End the process; if it was ready, first wait until `drained` returns."""
        await self._supervisor.end(grace=self.spec.grace, drained=drained)
        self._free_port()
        self._revoke()

    def _changed(self) -> None:
        if self.state is State.FAILED:
            self._revoke()
        self._on_change()

    def _launch(self) -> tuple[Launch, Probe]:
        """A new port for every start unless the app has a fixed one: the last port may be taken by now, or have open
        connections."""
        self._free_port()
        ports, fixed = self._context.ports, self.spec.port
        try:
            self._port = port = ports.take() if fixed is None else ports.claim(fixed, datagrams=self.spec.has_udp)
        except NoPortError as error:
            raise SpawnError(str(error)) from error
        env = {name: with_port(value, port) for name, value in self.spec.env.items()} | {"PORT": str(port)}
        env |= self._busy()
        readiness = self.spec.readiness

        def launch(command: Sequence[str]) -> Launch:
            # A command given as a list runs without a shell, so $PORT is replaced here.
            return Launch([with_port(word, port) for word in command], env=env, cwd=self._directory)

        check = Check(launch(readiness.command), self._context.reaper) if readiness.command else None
        by_udp = self.spec.is_ready_by_udp
        probe = Probe(LOOPBACKS, port, readiness.path, readiness.interval, datagrams=by_udp, check=check)
        return launch(self.spec.command), probe

    def _busy(self) -> dict[str, str]:
        """Variables for an app that may keep itself awake: a new token for every start."""
        self._revoke()
        desk = self._context.busy
        if not desk.url or not self.spec.max_busy:
            return {}
        self._busy_token = desk.issue(self.spec.key, self.number)
        return {BUSY_URL: desk.url, BUSY_TOKEN: self._busy_token}

    def _revoke(self) -> None:
        token, self._busy_token = self._busy_token, ""
        self._context.busy.revoke(token)

    def _free_port(self) -> None:
        if self._port is not None:
            self._context.ports.give_back(self._port)
            self._port = None
