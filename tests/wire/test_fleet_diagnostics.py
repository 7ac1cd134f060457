"""The diagnostics pages, over real HTTP."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from fleet.runtime.diagnostics import Diagnostics
from fleet.runtime.process import StartError
from tests.support.acting import HOSTILE, acting


class Size(msgspec.Struct):
    app: str
    held: int


class State:
    """What a component would know."""

    def __init__(self) -> None:
        self.reason: str | None = "no routing table yet"
        self.registry = CollectorRegistry()
        self.sizes = [Size("default/web", 1)]
        self.diagnostics = Diagnostics(
            "127.0.0.1",
            0,
            not_ready=lambda: self.reason,
            registry=self.registry,
            pages={"/queue": self.queue, "/broken": self.broken},
        )

    def queue(self) -> dict[str, Any]:
        return {"apps": self.sizes}

    def broken(self) -> None:
        raise RuntimeError("a fault of ours")


@asynccontextmanager
async def serving(state: State) -> AsyncIterator[httpx.AsyncClient]:
    before = asyncio.all_tasks()
    port = await state.diagnostics.start()
    assert port == state.diagnostics.port > 0
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        await state.diagnostics.stop()
        assert asyncio.all_tasks() == before


async def test_live_and_ready() -> None:
    state = State()
    async with serving(state) as client:
        assert (await client.get("/livez")).status_code == 200
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "no routing table yet\n")
        state.reason = None
        assert (await client.get("/readyz")).status_code == 200


async def test_metrics_in_the_text_format() -> None:
    state = State()
    Counter("weir_example", "An example.", ["app"], registry=state.registry).labels("default/web").inc(3)
    async with serving(state) as client:
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert 'weir_example_total{app="default/web"} 3.0' in answer.text


async def test_pages_are_json_of_what_is_known_now() -> None:
    state = State()
    async with serving(state) as client:
        assert (await client.get("/queue")).json() == {"apps": [{"app": "default/web", "held": 1}]}
        state.sizes = []
        answer = await client.get("/queue")
        assert (answer.headers["content-type"], answer.json()) == ("application/json", {"apps": []})
        assert (await client.get("/other")).status_code == 404
        assert (await client.post("/queue")).status_code == 405


async def test_a_page_acts_on_no_terminal() -> None:
    state = State()
    state.sizes = [Size(HOSTILE, 1)]
    async with serving(state) as client:
        answer = await client.get("/queue")
        assert answer.json() == {"apps": [{"app": HOSTILE, "held": 1}]}
        assert not acting(answer.text)


async def test_a_page_that_fails_is_a_500_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(State()) as client:
        answer = await client.get("/broken")
        assert answer.status_code == 500
        assert "a fault of ours" not in answer.text
        assert (await client.get("/livez")).status_code == 200
    assert "a fault of ours" in caplog.text


async def test_signals_and_logging_stay_the_process_s_own() -> None:
    handlers = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    async with serving(State()) as client:
        await client.get("/livez")
        assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)] == handlers
        assert (root.handlers[:], root.level) == before
        assert logging.getLogger("uvicorn").handlers == []


class Traced(Metric):
    """Knows the threads in which it was read and written."""

    def __init__(self, threads: list[int]) -> None:
        super().__init__("weir_traced", "For a test.", "gauge")
        self.threads = threads

    @property
    def samples(self) -> list[Sample]:
        self.threads.append(threading.get_ident())
        return [Sample("weir_traced", {}, 7.0)]

    @samples.setter
    def samples(self, _: list[Sample]) -> None:
        pass


class Tracing(Collector):
    def __init__(self) -> None:
        self.read: list[int] = []
        self.written: list[int] = []

    def collect(self) -> Iterable[Metric]:
        self.read.append(threading.get_ident())
        yield Traced(self.written)


async def test_metrics_are_read_by_the_event_loop_and_written_elsewhere() -> None:
    """What they are read from changes in the loop; and ten thousand lines would keep it from its work."""
    state, tracing = State(), Tracing()
    state.registry.register(tracing)
    async with serving(state) as client:
        tracing.read.clear()
        assert "weir_traced 7.0" in (await client.get("/metrics")).text
    assert set(tracing.read) == {threading.get_ident()}
    assert tracing.written
    assert threading.get_ident() not in tracing.written


async def test_a_port_in_use_is_an_error_of_one_line() -> None:
    state = State()
    async with serving(state):
        port = state.diagnostics.port
        second = Diagnostics("127.0.0.1", port, not_ready=lambda: None, registry=CollectorRegistry(), pages={})
        with pytest.raises(StartError, match=rf"^port {port} is in use: cannot listen for diagnostics on 127\.0\.0\.1:{port}$"):
            await second.start()
        await second.stop()


async def test_stop_does_not_wait_for_clients_that_stay() -> None:
    state = State()
    await state.diagnostics.start()
    idle = await asyncio.open_connection("127.0.0.1", state.diagnostics.port)
    halfway = await asyncio.open_connection("127.0.0.1", state.diagnostics.port)
    halfway[1].write(b"GET /livez HTTP/1.1\r\nHost: ")
    kept = await asyncio.open_connection("127.0.0.1", state.diagnostics.port)
    kept[1].write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await kept[0].readline()).startswith(b"HTTP/1.1 200")
    started = time.monotonic()
    await state.diagnostics.stop()
    assert time.monotonic() - started < 5.0
    for reader, writer in (idle, halfway, kept):
        await reader.read()
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", state.diagnostics.port)


async def test_stop_right_after_start() -> None:
    state = State()
    await state.diagnostics.start()
    await state.diagnostics.stop()
    await state.diagnostics.stop()
