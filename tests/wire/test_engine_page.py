"""The engine's page: who is answered, and what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from weir.engine.logbook import LogBook
from weir.engine.page import Page, Refused

TOKEN = "secret"  # noqa: S105  of a test
OURS = {"Authorization": f"Bearer {TOKEN}"}


class _Controls:
    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    async def overview(self) -> list[dict[str, Any]]:
        return [{"app": "default/a"}]

    async def views(self) -> list[dict[str, Any]]:
        return [{"name": "a"}]

    async def progress(self) -> dict[str, Any]:
        return {"digest": "1"}

    def find(self, name: str) -> str:
        if name != "a":
            raise Refused(f"there is no app {name}")
        return "default/a"

    async def act(self, verb: str, key: str) -> str:
        self.done.append((verb, key))
        return "done"


class _Stage:
    def __init__(self, url: str, book: LogBook, controls: _Controls, page: Page) -> None:
        self.url, self.book, self.controls, self.page = url, book, controls, page

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.post(f"{self.url}{path}", json=body or {}, headers=headers)


@pytest.fixture
async def stage() -> AsyncIterator[_Stage]:
    book, controls = LogBook(lambda _, __: None), _Controls()
    page = Page(controls, book, TOKEN)
    url = await page.start(0)
    yield _Stage(url, book, controls, page)
    await page.stop()


async def test_orders_are_done_and_told(stage: _Stage) -> None:
    assert (await stage.post("/ps", **OURS)).json() == {"apps": [{"app": "default/a"}]}
    assert (await stage.post("/apps", **OURS)).json() == {"apps": [{"name": "a"}]}
    assert (await stage.post("/file", **OURS)).json() == {"digest": "1"}
    for verb in ("wake", "sleep", "restart"):
        assert (await stage.post(f"/{verb}", {"name": "a"}, **OURS)).json() == {"told": "done"}
    assert stage.controls.done == [("wake", "default/a"), ("sleep", "default/a"), ("restart", "default/a")]
    refused = await stage.post("/wake", {"name": "b"}, **OURS)
    assert (refused.status_code, refused.json()) == (409, {"error": "there is no app b"})
    assert (await stage.post("/wake", **OURS)).status_code == 409


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer other"},
        {**OURS, "Host": "evil.example"},
        {**OURS, "Host": "localhost"},
        {**OURS, "Origin": "http://evil.example"},
        {**OURS, "Origin": "null"},
        {**OURS, "Origin": "http://localhost:1"},
    ],
)
async def test_requests_that_are_not_answered(stage: _Stage, headers: dict[str, str]) -> None:
    for path in ("/ps", "/apps", "/file", "/logs", "/wake"):
        assert (await stage.post(path, {"name": "a"}, **headers)).status_code == 403
    assert stage.controls.done == []


async def test_nothing_is_done_by_a_mere_link(stage: _Stage) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in ("/ps", "/wake", "/logs"):
            assert (await client.get(f"{stage.url}{path}", headers=OURS)).status_code == 405
    own = stage.url.replace("127.0.0.1", "localhost")
    assert (await stage.post("/ps", **OURS, Origin=own, Host=own.removeprefix("http://"))).status_code == 200


async def test_what_is_no_request_is_refused(stage: _Stage) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for content in (b"{", b"[]", b"x" * 100_000, b"[" * 60_000):
            assert (await client.post(f"{stage.url}/wake", content=content, headers=OURS)).status_code == 409
    assert (await stage.post("/logs", {"name": "a", "lines": -1}, **OURS)).status_code == 409


async def test_lines_of_before_and_those_that_come(stage: _Stage) -> None:
    stage.book.tell("a/1", ["one", "two"])
    told = await stage.post("/logs", {"name": "a", "lines": 1}, **OURS)
    assert [json.loads(line) for line in told.text.splitlines()] == [{"speaker": "a/1", "line": "two"}]
    async with (
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
        client.stream("POST", f"{stage.url}/logs", json={"name": "a", "follow": True}, headers=OURS) as answer,
    ):
        lines = answer.aiter_lines()
        assert [json.loads(await anext(lines))["line"] for _ in range(2)] == ["one", "two"]
        stage.book.tell("a/2", ["three"])
        assert json.loads(await anext(lines)) == {"speaker": "a/2", "line": "three"}
        # The end of the engine ends it, soon and cleanly.
        async with asyncio.timeout(60):
            stopping = asyncio.create_task(stage.page.stop())
            assert [line async for line in lines] == []
            await stopping
