"""Events of the leading controller: from EndpointSlices, to a real webhook."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.reachability import Demand
from controller.server import Controller
from controller.settings import ControllerSettings
from controller.wakes import Wakes
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until
from tests.wire.test_events import Receiver

HTTP = "/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects/web"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1"


def slice_of(api: MemoryApi, *ready: bool) -> None:
    """The Service's pods, ready or not."""
    endpoints: list[dict[str, Any]] = [
        {"addresses": [f"10.0.0.{number}"], "conditions": {"ready": one}, "targetRef": {"kind": "Pod", "name": f"web-{number}"}}
        for number, one in enumerate(ready)
    ]
    labels = {"kubernetes.io/service-name": "web"}
    api.put(SLICE, metadata={"labels": labels}, addressType="IPv4", ports=[], endpoints=endpoints)


@pytest.fixture
def api() -> MemoryApi:
    made = MemoryApi()
    made.put(HTTP, spec={"hosts": ["web"], "scaleTargetRef": {"name": "web", "service": "web", "port": 80}})
    slice_of(made)
    return made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = await Receiver().start()
    yield made
    await made.stop()


@pytest.fixture
async def controller(api: MemoryApi, receiver: Receiver, tmp_path: Path) -> AsyncIterator[Controller]:
    flags = ["--host", "127.0.0.1", "--diagnostics-port", "0", "--routes", f"file:{tmp_path / 'routes.json'}"]
    flags += ["--members", "127.0.0.1:1", "--scaler-address", "scaler:9091", "--lease", "weir-system/weir-controller"]
    flags += ["--no-leader-elect", "--events-webhook", receiver.url, "--events-source", "//cluster/one"]
    made = Controller(ControllerSettings.load(flags), api=api)
    await made.start()
    yield made
    await made.close()


def told(receiver: Receiver) -> list[str]:
    return [head["ce-type"].rpartition(".")[2] for head, _ in receiver.received]


def wakes_of(controller: Controller) -> Wakes:
    term = controller._term
    assert term is not None
    return term._wakes


async def begun(controller: Controller) -> None:
    await until(lambda: controller.leads and "shop/web" in wakes_of(controller)._apps)


async def test_a_life_is_told_once(api: MemoryApi, controller: Controller, receiver: Receiver) -> None:
    await begun(controller)
    for ready in ((False,), (True,), (True, True), (True,), ()):
        slice_of(api, *ready)
        await asyncio.sleep(0.05)  # each is seen by itself
    await until(lambda: told(receiver)[-1:] == ["sleep"])
    assert told(receiver) == ["wake", "ready", "sleep"]
    assert {head["ce-source"] for head, _ in receiver.received} == {"//cluster/one"}
    assert {head["ce-subject"] for head, _ in receiver.received} == {"shop/web"}


async def test_requests_that_wait_in_vain(api: MemoryApi, controller: Controller, receiver: Receiver) -> None:
    await begun(controller)
    wakes = wakes_of(controller)
    wakes.on_demands({"shop/web": Demand(held=1)})
    wakes.on_demands({"shop/web": Demand(held=1, timed_out=1, timed_out_seconds=20.0, last_error="refused")})
    wakes.on_demands({"shop/web": Demand(held=1, timed_out=2, timed_out_seconds=20.0)})
    wakes.on_demands({})
    await until(lambda: len(receiver.received) == 3)
    assert told(receiver) == ["wake", "failed", "sleep"]
    assert b"requests waited 20 s in vain: refused" in receiver.received[1][1]


async def test_services_that_no_application_has_any_more_are_forgotten(api: MemoryApi, controller: Controller) -> None:
    """A tenant may name another one as often as he likes."""
    await begun(controller)
    wakes = wakes_of(controller)
    for name in ("one", "two", "three"):
        api.put(HTTP, spec={"hosts": ["web"], "scaleTargetRef": {"name": "web", "service": name, "port": 80}})
        await until(lambda name=name: [*wakes._apps_of] == [f"shop/{name}"])  # type: ignore[misc]
    api.drop(HTTP)
    await until(lambda: not wakes._apps_of)
