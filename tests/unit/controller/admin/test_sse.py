"""Streams of events: what a caller reads, and what becomes of the work when it leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from controller.admin import sse
from controller.admin.problems import Refused
from controller.admin.sse import MAX_PENDING, MAX_STREAMS, MAX_STREAMS_OF_USER, Places, Progress, Streams, Work, encoded
from fleet.discovery.kubernetes.client import ApiError
from tests.support.waiting import until


class Client:
    """An ASGI peer that may leave, or not read."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.left = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.heard = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.sent.append(message)
        if message.get("body"):
            self.heard.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def events(self) -> list[tuple[str, Any]]:
        return list(parsed(self.body))


def parsed(body: bytes) -> Iterator[tuple[str, Any]]:
    """By the rules of the standard, as far as they are used here."""
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if lines:
            yield lines["event"], msgspec.json.decode(lines["data"])


async def stream(streams: Streams, work: Work, client: Client) -> None:
    answer = await streams.answer("adam", work)
    await answer({"type": "http"}, client.receive, client.send)


async def test_progress_and_then_the_end() -> None:
    async def work(progress: Progress) -> dict[str, Any]:
        progress.tell("one", n=1)
        await asyncio.sleep(0)
        progress.tell("two\nevent: done")
        await asyncio.sleep(0)
        return {"outcome": "served"}

    client = Client()
    await stream(Streams(), work, client)
    assert client.events == [
        ("progress", {"step": "one", "n": 1}),
        ("progress", {"step": "two\nevent: done"}),
        ("done", {"outcome": "served"}),
    ]
    headers = dict(client.sent[0]["headers"])
    assert (client.sent[0]["status"], headers[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
    assert b"content-length" not in headers
    assert [message.get("more_body") for message in client.sent[1:]][-1] is False


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Refused(409, "exists", "it does"), "exists"),
        (ApiError("no quota", status=403), "refused-by-cluster"),
        (KeyError("x"), "internal"),
    ],
)
async def test_what_fails_before_its_first_progress_is_no_stream(
    told: bool, error: Exception, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)

    async def work(progress: Progress) -> dict[str, Any]:
        await asyncio.sleep(0)
        if told:
            progress.tell("begun")
        await asyncio.sleep(0)
        raise error

    client, streams = Client(), Streams()
    if not told:
        with pytest.raises(type(error)):
            await stream(streams, work, client)
        assert not client.sent
    else:
        await stream(streams, work, client)
        assert [name for name, _ in client.events] == ["progress", "failed"]
        assert client.events[-1][1]["problem"]["type"] == f"urn:weir:problem:{kind}"
        assert (kind == "internal") == bool(caplog.records)
    assert not streams.places._taken


async def test_work_goes_on_when_its_caller_leaves() -> None:
    finished, go_on = asyncio.Event(), asyncio.Event()

    async def work(progress: Progress) -> dict[str, Any]:
        progress.tell("begun")
        assert not await progress.pause(60)
        await go_on.wait()
        progress.tell("nobody hears this")
        finished.set()
        return {}

    client, streams = Client(), Streams()
    task = asyncio.create_task(stream(streams, work, client))
    await client.heard.wait()
    client.left.set()
    async with asyncio.timeout(60):
        await task
        go_on.set()
        await finished.wait()
    assert not streams.places._taken
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not streams._running


async def test_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "COMMENT_SECONDS", 0.0)
    client, beats = Client(), asyncio.Event()

    async def work(progress: Progress) -> dict[str, Any]:
        progress.tell("begun")
        await beats.wait()
        return {}

    task = asyncio.create_task(stream(Streams(), work, client))
    async with asyncio.timeout(60):
        await until(lambda: client.body.count(b": still there\n\n") >= 3)
        beats.set()
        await task
    assert [name for name, _ in client.events] == ["progress", "done"]


async def test_a_caller_who_reads_slowly_gets_the_newest_and_the_end() -> None:
    client = Client()
    client.reads.clear()
    told = asyncio.Event()

    async def work(progress: Progress) -> dict[str, Any]:
        progress.tell("begun")
        await asyncio.sleep(0)
        for number in range(10 * MAX_PENDING):
            progress.tell("counting", n=number)
        told.set()
        return {"outcome": "counted"}

    task = asyncio.create_task(stream(Streams(), work, client))
    await told.wait()
    client.reads.set()
    async with asyncio.timeout(60):
        await task
    steps = [data["n"] for name, data in client.events if name == "progress" and "n" in data]
    assert steps == list(range(10 * MAX_PENDING - len(steps), 10 * MAX_PENDING))
    assert len(steps) == MAX_PENDING
    assert client.events[-1] == ("done", {"outcome": "counted"})


async def test_places_are_bounded() -> None:
    places = Places()
    held = [places.take("adam") for _ in range(MAX_STREAMS_OF_USER)]
    with pytest.raises(Refused) as refused:
        places.take("adam")
    assert refused.value.status == 429
    held[0].release()
    held[0].release()
    held[0] = places.take("adam")
    with pytest.raises(Refused):
        places.take("adam")
    others = [places.take(f"user-{number}") for number in range(MAX_STREAMS - MAX_STREAMS_OF_USER)]
    with pytest.raises(Refused):
        places.take("eve")
    for place in (*held, *others):
        place.release()
    assert not places._taken


async def test_the_end_of_the_controller() -> None:
    """Work that waits ends by itself, and says what it knows; other work is cancelled, and the caller is told so."""

    async def waits(progress: Progress) -> dict[str, Any]:
        progress.tell("begun")
        while await progress.pause(60):
            pass
        return {"outcome": "unknown"}

    async def hangs(progress: Progress) -> dict[str, Any]:
        progress.tell("begun")
        await asyncio.Event().wait()
        return {}

    streams, clients = Streams(), (Client(), Client())
    tasks = [asyncio.create_task(stream(streams, work, client)) for work, client in zip((waits, hangs), clients, strict=True)]
    for client in clients:
        await client.heard.wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "CLOSE_SECONDS", 0.01)
        await streams.close()
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
    assert clients[0].events[-1] == ("done", {"outcome": "unknown"})
    assert clients[1].events[-1][1]["problem"]["type"] == "urn:weir:problem:ending"


@pytest.mark.parametrize("text", ["\r\n\r\nevent: done\r\ndata: {}", "\u2028\u2029\x85", "\x00", "a: b", ""])
def test_no_text_ends_an_event(text: str) -> None:
    assert list(parsed(encoded("progress", {"step": text}))) == [("progress", {"step": text})]
    assert encoded("progress", {"step": text}).count(b"\n") == 3
    assert b"\r" not in encoded("progress", {"step": text})
