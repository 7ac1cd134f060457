"""Probes for playbooks: a dialer whose connections a playbook opens, and endpoints that record events."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import Any

from interceptor.backends.endpoint import ProbeRule
from interceptor.backends.probes import Probes
from interceptor.core.errors import BackendError
from interceptor.core.messages import Request, Response
from tests.support.manual_loop import ManualLoop, TimeStage

__all__ = ["ProbesStage"]


class _Connection:
    """A connection to one backend."""

    def __init__(self, stage: ProbesStage, name: str) -> None:
        self._stage, self.name = stage, name

    def send_request(self, sink: Any, head: Request, body: object, *, end: bool, peer: bytes, trusted: bool) -> None:
        assert (body, peer, trusted) == (None, b"", False)
        self._stage.sinks[self.name] = sink
        self._stage.outputs.append(f"{self.name} {head.method.decode()} {head.target.decode()}")

    def release(self) -> None:
        self._stage.outputs.append(f"{self.name} release")

    def abort(self) -> None:
        self._stage.outputs.append(f"{self.name} abort")


class _Endpoint:
    """A backend."""

    def __init__(self, stage: ProbesStage, name: str) -> None:
        self._stage = stage
        self.address, self.owner = name, stage.owner
        self.gone = False
        self.failures = 0

    def passed(self) -> None:
        self.failures = 0
        self._stage.outputs.append(f"{self.address} passed")

    def failed(self, now: float) -> None:
        self.failures += 1
        self._stage.outputs.append(f"{self.address} failed at {now:g}")

    def offer(self, connection: _Connection, now: float) -> None:
        self._stage.outputs.append(f"{connection.name} offered at {now:g}")


class ProbesStage(TimeStage):
    """The dialer of the probes, and the target of all backends."""

    def __init__(self, loop: ManualLoop) -> None:
        super().__init__(loop)
        self.owner = SimpleNamespace(key="shop", rule=ProbeRule(), probing=0, last_error="", clock=self.clock)
        self.endpoints: dict[str, _Endpoint] = {}
        self.dials: dict[str, asyncio.Future[_Connection]] = {}
        self.sinks: dict[str, Any] = {}
        dialer: Any = self
        self.probes = Probes(dialer, self.clock)

    async def connect(self, endpoint: _Endpoint) -> _Connection:
        self.outputs.append(f"dial {endpoint.address}")
        dial: asyncio.Future[_Connection] = self.loop.create_future()
        self.dials[endpoint.address] = dial
        return await dial

    # -- verbs of playbooks ---------------------------------------------------------------------------------------

    def rule(self, path: str, seconds: str = "inf") -> None:
        """Set the readiness path, or "-" for none, and the connect timeout in seconds."""
        self.owner.rule = ProbeRule(None if path == "-" else path, float(seconds))

    def ask(self, *names: str) -> None:
        for name in names:
            endpoint: Any = self.endpoints.setdefault(name, _Endpoint(self, name))
            self.probes.probe(endpoint)

    def probe(self, endpoint: _Endpoint, path: str) -> Request:
        """Part of the dialer's interface."""
        return Request(b"GET", path.encode(), path.encode(), b"", 0)

    def gone(self, name: str) -> None:
        self.endpoints.setdefault(name, _Endpoint(self, name)).gone = True

    def takes(self, name: str) -> None:
        self.dials[name].set_result(_Connection(self, name))

    def refuses(self, name: str) -> None:
        self.dials[name].set_exception(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))

    def answers(self, name: str, status: str, *flags: str) -> None:
        """Flags: "begun" (more follows), "close"."""
        self.sinks[name].on_answer(Response(int(status), 0), b"", complete="begun" not in flags, reusable="close" not in flags)

    def interim(self, name: str) -> None:
        self.sinks[name].on_interim(Response(103, 0))

    def lost(self, name: str, how: str = "") -> None:
        self.sinks[name].on_lost(ConnectionResetError("reset") if how else BackendError("ended"))

    def switches(self, name: str) -> None:
        self.sinks[name].on_switched(Response(101, 0), b"")

    def counts(self) -> None:
        self.outputs.append(f"passes={self.probes.passes} failures={self.probes.failures} probing={self.owner.probing}")

    def error(self) -> None:
        """Why the last connection could not be opened."""
        self.outputs.append(self.owner.last_error or "none")

    async def close(self) -> None:
        await self.probes.close()
        self.outputs.append(f"closed, probing={self.owner.probing}")

    async def end(self) -> None:
        await self.probes.close()
