"""The diagnostics pages, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleet.runtime.diagnostics import MAX_CONNECTIONS, Diagnostics, Page
from fleet.runtime.documents import BYTES_AT_ONCE, PARTS_AT_ONCE, Rows
from fleet.runtime.process import StartError
from tests.support.acting import HOSTILE, acting


class Size(msgspec.Struct):
    app: str
    held: int


class State:
    """What a component would know."""

    def __init__(self) -> None:
        self.reason: str | None = "no routing table yet"
        self.text = ["# TYPE weir_example_total counter\n", "", 'weir_example_total{app="default/web"} 3.0\n']
        self.parts_read = 0
        self.sizes = [Size("default/web", 1)]
        self.diagnostics = Diagnostics(
            "127.0.0.1",
            0,
            not_ready=lambda: self.reason,
            metrics=self.metrics,
            pages={"/queue": self.queue, "/broken": self.broken, "/rows": self.rows, "/some": Page(self.some, "a few", limit=3)},
        )

    def queue(self) -> dict[str, Any]:
        return {"apps": self.sizes}

    def metrics(self) -> Iterator[str]:
        for part in self.text:
            self.parts_read += 1
            yield part

    def rows(self) -> Rows:
        return Rows(json.loads(part) for part in self.metrics())

    def some(self, most: int) -> dict[str, Any]:
        return {"most": most}

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
    async with serving(State()) as client:
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        assert [(sample.labels, sample.value) for sample in families["weir_example"].samples] == [({"app": "default/web"}, 3.0)]
        assert families["process_resident_memory_bytes"].samples[0].value > 1e6


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


@pytest.mark.parametrize("path", ["/metrics", "/rows"])
async def test_a_large_document_is_made_in_small_steps(path: str) -> None:
    """Beside three who ask for it at once, others have as many turns of the loop as with one."""
    state = State()
    state.text = [f"{number}\n" for number in range(20 * PARTS_AT_ONCE)]
    async with serving(state) as client:
        asking = [asyncio.create_task(client.get(path)) for _ in range(3)]
        longest = 0
        while not all(task.done() for task in asking):
            before = state.parts_read
            await asyncio.sleep(0)
            longest = max(longest, state.parts_read - before)
        for task in asking:
            answer = await task
            assert answer.status_code == 200
            assert answer.text.replace(",", "\n").strip("[]").rstrip().endswith("".join(state.text).rstrip())
    assert state.parts_read == 3 * len(state.text)
    assert 0 < longest <= PARTS_AT_ONCE


async def test_a_document_of_long_parts_is_made_in_small_steps() -> None:
    state = State()
    state.text = [f"# {'x' * (BYTES_AT_ONCE // 4)}\n"] * 40
    async with serving(state) as client:
        asking = asyncio.create_task(client.get("/metrics"))
        longest = 0
        while not asking.done():
            before = state.parts_read
            await asyncio.sleep(0)
            longest = max(longest, state.parts_read - before)
        assert (await asking).text.endswith("".join(state.text))
    assert 0 < longest <= 4


async def test_a_client_that_leaves_in_the_middle_keeps_nobody_waiting() -> None:
    state = State()
    state.text = [f"{number}\n" for number in range(20 * PARTS_AT_ONCE)]
    async with serving(state) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", state.diagnostics.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        while not state.parts_read:  # noqa: ASYNC110 -- a count has no event
            await asyncio.sleep(0)
        writer.transport.abort()
        assert (await client.get("/metrics")).status_code == 200


async def test_a_port_in_use_is_an_error_of_one_line() -> None:
    state = State()
    async with serving(state):
        port = state.diagnostics.port
        second = Diagnostics("127.0.0.1", port, not_ready=lambda: None, metrics=lambda: iter(()), pages={})
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


async def test_the_root_says_what_there_is_to_people_and_to_programs() -> None:
    async with serving(State()) as client:
        text = await client.get("/")
        assert text.headers["content-type"].startswith("text/plain")
        paths = [line.split()[0] for line in text.text.splitlines()]
        assert paths == ["/livez", "/readyz", "/metrics", "/logging", "/queue", "/broken", "/rows", "/some"]
        page = await client.get("/", headers={"accept": "text/html,*/*;q=0.8"})
        assert page.headers["content-type"].startswith("text/html")
        assert "unsafe" not in page.headers["content-security-policy"]
        links = re.findall(r'href="([^"]+)"', page.text)
        assert links == [path.removeprefix("/") for path in paths]
        for link in links:
            assert (await client.get(f"/{link}")).status_code in (200, 500, 503)


# -- JSON or text, and how much ---------------------------------------------------------------------------------

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "query", "is_json"),
    [
        ("*/*", "", True),
        ("application/json", "", True),
        ("text/plain", "", False),
        (BROWSER, "", False),
        (BROWSER, "?format=json", True),
        ("application/json", "?format=text", False),
    ],
)
async def test_pages_are_json_or_text(accept: str, query: str, is_json: bool) -> None:
    async with serving(State()) as client:
        answer = await client.get(f"/queue{query}", headers={"accept": accept})
        assert answer.headers["content-type"].startswith("application/json" if is_json else "text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"
        if is_json:
            assert answer.json() == {"apps": [{"app": "default/web", "held": 1}]}
        else:
            assert answer.text == "apps:\n  - app: default/web  held: 1\n"


async def test_every_page_has_both_forms() -> None:
    state = State()
    async with serving(state) as client:
        for path in ("/", "/livez", "/readyz", "/metrics", "/logging", "/queue", "/some"):
            told = await client.get(path, params={"format": "json"})
            assert told.headers["content-type"] == "application/json", path
            json.loads(told.content)
            assert (await client.get(path, params={"format": "text"})).headers["content-type"].startswith("text/plain"), path
        assert (await client.get("/readyz?format=json")).json() == {"ready": False, "reason": "no routing table yet"}
        assert (await client.get("/metrics?format=json")).json()['weir_example_total{app="default/web"}'] == 3.0
        assert (await client.get("/?format=json")).json()["/some"] == "a few"


async def test_how_many_rows() -> None:
    async with serving(State()) as client:
        assert (await client.get("/some")).json() == {"most": 3}
        assert (await client.get("/some?limit=70")).json() == {"most": 70}
        for query in (
            "limit=",
            "limit=-1",
            "limit=1e3",
            "limit=100001",
            "limit=9999999999999999999999",
            "limit=\u0663",
            "format=xml",
        ):
            assert (await client.get(f"/some?{query}")).status_code == 400, query


# -- the level of the log ----------------------------------------------------------------------------------------


@pytest.fixture
def log_level() -> Iterator[logging.Logger]:
    """The process's log, which is as before afterwards."""
    root, one = logging.getLogger(), logging.getLogger("fleet.runtime.diagnostics")
    before = root.level, logging.getLogger("asyncio").level
    yield root
    root.setLevel(before[0])
    logging.getLogger("asyncio").setLevel(before[1])
    one.setLevel(logging.NOTSET)


async def test_a_post_changes_the_level_of_the_log(log_level: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(State()) as client:
        answer = await client.post("/logging", json={"level": "debug"})
        assert (answer.status_code, answer.json()["level"]) == (200, "debug")
        assert log_level.level == logging.DEBUG
        assert logging.getLogger("asyncio").level == logging.WARNING, "whose lines are of no use"
        assert "the level of the log was set to debug" in caplog.text
        told = (await client.post("/logging", json={"level": "ERROR", "logger": "fleet.runtime.diagnostics"})).json()
        assert told == (await client.get("/logging")).json()
        assert told["loggers"]["fleet.runtime.diagnostics"] == "error"
        told = (await client.post("/logging", json={"level": None, "logger": "fleet.runtime.diagnostics"})).json()
        assert "fleet.runtime.diagnostics" not in told["loggers"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"level": "loud"}, 400),
        ({"level": None}, 400),
        ({"level": 10}, 400),
        ({"level": "debug", "logger": "no.such.logger"}, 400),
        ({"level": "debug", "more": 1}, 400),
        ({}, 400),
        ([], 400),
        ({"level": "x" * 5000}, 413),
    ],
)
async def test_what_changes_nothing(body: Any, status: int, log_level: logging.Logger) -> None:
    before = log_level.level
    async with serving(State()) as client:
        assert (await client.post("/logging", json=body)).status_code == status
    assert log_level.level == before
    assert "no.such.logger" not in logging.root.manager.loggerDict


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({}, 415),
        ({"content-type": "application/json", "origin": "https://evil.test"}, 403),
        ({"content-type": "application/json", "origin": "null"}, 403),
        ({"content-type": "application/json", "sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "application/json", "origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}, 403),
    ],
)
async def test_no_page_in_a_browser_changes_it(fields: dict[str, str], status: int, log_level: logging.Logger) -> None:
    before = log_level.level
    async with serving(State()) as client:
        answer = await client.post("/logging", content=b'{"level": "debug"}', headers=fields)
        assert answer.status_code == status
        asked = {"origin": "https://evil.test", "access-control-request-method": "POST"}
        preflight = await client.options("/logging", headers=asked)
        assert preflight.status_code == 405
        assert not [name for name in preflight.headers if name.startswith("access-control")]
    assert log_level.level == before


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/queue", "/rows", "/some"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_else_takes_anything(path: str, method: str) -> None:
    async with serving(State()) as client:
        assert (await client.request(method, path, json={})).status_code == 405


# -- clients that nobody knows -------------------------------------------------------------------------------------


async def test_a_page_that_rebinds_its_name_reads_nothing() -> None:
    """A browser sends no Origin where a page reads from its own, and no Sec-Fetch-Site by http: only the Host tells."""
    async with serving(State()) as client:
        for path in ("/", "/readyz", "/metrics", "/logging", "/queue", "/some?limit=1"):
            answer = await client.get(path, headers={"host": "evil.test:9901"})
            assert (answer.status_code, answer.text.startswith("not a name of this process")) == (421, True), path
            for name in ("localhost:9901", "10.0.0.1:9901", "weir-interceptor.weir-system.svc:9901", socket.gethostname()):
                assert (await client.get(path, headers={"host": name})).status_code in (200, 503), (path, name)
        answer = await client.post("/logging", json={"level": "debug"}, headers={"host": "evil.test"})
        assert answer.status_code == 421
        assert (await client.get("/livez", headers={"host": "evil.test"})).status_code == 200, "for probes of all kinds"


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HTTP/1.1\r\n", b"POST /logging HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"]
)
async def test_connections_that_are_kept_without_a_request_keep_no_probe_out(sent: bytes) -> None:
    async with serving(state := State()):
        kept = [await asyncio.open_connection("127.0.0.1", state.diagnostics.port) for _ in range(MAX_CONNECTIONS + 5)]
        for _, writer in kept:
            writer.write(sent)
        for _ in range(3):
            async with httpx.AsyncClient(trust_env=False) as probe:
                assert (await probe.get(f"http://127.0.0.1:{state.diagnostics.port}/livez")).status_code == 200
        for _, writer in kept:
            writer.close()


async def test_a_head_without_an_end() -> None:
    async with serving(state := State()):
        reader, writer = await asyncio.open_connection("127.0.0.1", state.diagnostics.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n")
        sent = 0
        with contextlib.suppress(OSError):
            while not reader.at_eof() and sent < 1 << 24:
                writer.write(line := b"X-A: " + b"a" * 8192 + b"\r\n")
                sent += len(line)
                await writer.drain()
                await asyncio.sleep(0)  # so that the other side, in this loop, reads it
        assert sent < 1 << 24
        writer.close()
