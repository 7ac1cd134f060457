"""One replica of an app: a supervised process with a port of its own.

Does not decide how many there are (autoscaler.py), nor who may be told of its address (app.py).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from fleet.discovery.sources import Backend
from fleet.runtime.address import LOOPBACKS
from weir.engine.child import Launch, SpawnError
from weir.engine.ports import NoPortError
from weir.engine.probe import Probe
from weir.engine.spec import AppSpec
from weir.engine.supervisor import Job, State, Supervisor, Yard

__all__ = ["Replica"]

RESTART_FIRST, RESTART_LIMIT = 0.25, 30.0
"""Seconds before a failed process is started again: soon at first, because a request may be waiting for it; later
seldom, because a process that fails at once would do nothing but start."""

_PORT = re.compile(r"\$(?:PORT\b|\{PORT\})", re.ASCII)


class Replica:
    """A process of an app. `on_change` is called when its state changes by itself."""

    def __init__(self, spec: AppSpec, number: int, directory: Path, *, yard: Yard, on_change: Callable[[], None]) -> None:
        self.spec, self.number = spec, number
        self.generation = 0
        """How often the app had been restarted by hand when it was made."""
        self._directory, self._yard = directory, yard
        self._port: int | None = None
        job = Job(
            name=f"{spec.key}: replica {number}",
            speaker=f"{spec.name}/{number}",
            launch=self._launch,
            readiness_timeout=spec.readiness.timeout,
            restart_first=RESTART_FIRST,
            restart_limit=RESTART_LIMIT,
            told_its_port=True,
        )
        self._supervisor = Supervisor(job, yard, on_change=on_change)

    @property
    def state(self) -> State:
        return self._supervisor.state

    @property
    def failures(self) -> int:
        return self._supervisor.failures

    @property
    def reason(self) -> str:
        """Why it is not ready, if it is not as it should be; empty otherwise."""
        return self._supervisor.reason

    @property
    def pid(self) -> int | None:
        return self._supervisor.pid

    @property
    def backend(self) -> Backend | None:
        """The address for requests, while it may have any."""
        address = self._supervisor.address
        return None if address is None else Backend(*address)

    def start(self) -> None:
        """Start the process within this very call."""
        self._supervisor.start()

    def withdraw(self) -> None:
        """Its address is to be taken away from requests. `end` must follow."""
        self._supervisor.withdraw()

    async def end(self, drained: Callable[[], Awaitable[None]] | None = None) -> None:
        """End it, once `drained` has returned if it had requests."""
        await self._supervisor.end(grace=self.spec.grace, drained=drained)
        self._free_port()

    def _launch(self) -> tuple[Launch, Probe]:
        """A new port for every start, unless it has its own: somebody may have taken the last one, or be connected to it."""
        self._free_port()
        ports, fixed = self._yard.ports, self.spec.port
        try:
            self._port = port = ports.take() if fixed is None else ports.claim(fixed)
        except NoPortError as error:
            raise SpawnError(str(error)) from error
        env = {name: _with_port(value, port) for name, value in self.spec.env.items()} | {"PORT": str(port)}
        readiness = self.spec.readiness
        probe = Probe(LOOPBACKS, port, readiness.path, readiness.interval)
        # A list of words has no shell that would put in the port.
        command = [_with_port(word, port) for word in self.spec.command]
        return Launch(command, env=env, cwd=self._directory), probe

    def _free_port(self) -> None:
        if self._port is not None:
            self._yard.ports.give_back(self._port)
            self._port = None


def _with_port(text: str, port: int) -> str:
    return _PORT.sub(str(port), text)
