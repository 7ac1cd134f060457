"""The triggers of one app: its own, and those for the apps whose requests it gets too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from weir.engine.autoscaler import Metric, Reading
from weir.engine.triggers import Triggers


class Client:
    """In place of a KedaClient."""

    def __init__(self, app: str, on_reading: Callable[[Reading], None]) -> None:
        self.app, self.on_reading = app, on_reading
        self.joined = asyncio.Event()
        self.quiet = False
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        await asyncio.Event().wait()


class Stage:
    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.readings: list[Reading] = []
        self.triggers = Triggers("n/a", self.make, on_reading=self.readings.append, create_task=asyncio.create_task)
        self.triggers.start()

    def make(self, app: str, on_reading: Callable[[Reading], None]) -> Any:
        self.clients[app] = Client(app, on_reading)
        return self.clients[app]

    def tell(self, app: str, value: float, *, active: bool = True) -> Reading:
        self.clients[app].on_reading(Reading(active=active, metrics=[Metric(value, 1.0)]))
        return self.readings[-1]

    async def end(self) -> None:
        for task in self.triggers.stop():
            task.cancel()
        await asyncio.sleep(0)


async def test_readings_are_put_together() -> None:
    stage = Stage()
    stage.triggers.follow(["n/b", "n/c"])
    await asyncio.sleep(0)
    assert {app: client.runs for app, client in stage.clients.items()} == {"n/a": 1, "n/b": 1, "n/c": 1}
    assert stage.triggers.joined is stage.clients["n/a"].joined
    assert stage.tell("n/a", 0.0, active=False) == Reading(active=False, metrics=[Metric(0.0, 1.0)])
    assert stage.tell("n/b", 7.0) == Reading(active=True, metrics=[Metric(0.0, 1.0), Metric(7.0, 1.0)])
    assert stage.tell("n/b", 3.0, active=False).active is False
    await stage.end()


async def test_one_that_is_followed_no_more_is_forgotten() -> None:
    stage = Stage()
    stage.triggers.follow(["n/b"])
    await asyncio.sleep(0)
    stage.tell("n/b", 7.0)
    stage.triggers.follow([])
    assert stage.tell("n/a", 1.0) == Reading(active=True, metrics=[Metric(1.0, 1.0)])
    stage.clients["n/b"].on_reading(Reading(active=True, metrics=[]))  # it was on its way
    assert len(stage.readings) == 2
    stage.triggers.follow(["n/b"])
    await asyncio.sleep(0)
    assert stage.clients["n/b"].runs == 1
    stage.triggers.hush()
    assert all(client.quiet for client in stage.clients.values())
    await stage.end()
