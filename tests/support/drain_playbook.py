"""Playbooks for the drain of a proxy: clients record calls, and disconnect when a playbook says so."""

from __future__ import annotations

import asyncio
from typing import Any

from interceptor.drain import finish
from tests.support.manual_loop import ManualLoop, TimeStage

__all__ = ["DrainStage"]


class _Client:
    """Records only the first of repeated calls."""

    def __init__(self, stage: DrainStage, name: str) -> None:
        self._stage, self._name = stage, name
        self._outputs = False

    def wind_down(self, now: float, seconds: float) -> None:
        if not self._outputs:
            self._outputs = True
            self._stage.note(f"{self._name} winds down at {now:.2f} within {seconds:.2f}")


class _Flows:
    """By name, when each had its last datagram."""

    def __init__(self, stage: DrainStage) -> None:
        self._stage = stage
        self.last: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.last)

    def end_idle(self, now: float, seconds: float) -> None:
        for name in [name for name, at in self.last.items() if now - at >= seconds]:
            del self.last[name]
            self._stage.note(f"end flow {name} at {now:.2f}")


class DrainStage(TimeStage):
    """The proxy."""

    def __init__(self, loop: ManualLoop) -> None:
        super().__init__(loop)
        self.named: dict[str, _Client] = {}
        self.flows = _Flows(self)
        self.waiting = 0
        self._closed_idle = False
        self._draining: asyncio.Task[None] | None = None

    def note(self, what: str) -> None:
        self.outputs.append(what)

    @property
    def clients(self) -> set[_Client]:
        return set(self.named.values())

    def close_idle(self, now: float) -> None:
        """Called repeatedly, recorded once."""
        if not self._closed_idle:
            self._closed_idle = True
            self.note(f"close idle at {now:.2f}")

    def reject_held(self) -> int:
        self.note(f"turn away at {self.clock():.2f}")
        return self.waiting

    # -- verbs of playbooks ---------------------------------------------------------------------------------------

    def come(self, *names: str) -> None:
        for name in names:
            self.named[name] = _Client(self, name)

    def leave(self, *names: str) -> None:
        for name in names:
            del self.named[name]

    def datagram(self, name: str) -> None:
        """Of a flow, which it begins if there is none of the name."""
        self.flows.last[name] = self.clock()

    def waits(self) -> None:
        """A request waits for a backend."""
        self.waiting = 1

    def drain(self, began: str, seconds: str) -> None:
        proxy: Any = self
        self._draining = self.loop.create_task(finish(proxy, began=float(began), seconds=float(seconds)))
        self._draining.add_done_callback(lambda task: self.note(f"over at {self.clock():.2f}"))

    async def end(self) -> None:
        assert self._draining is not None
        assert self._draining.done()
        self._draining.result()
