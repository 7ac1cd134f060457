"""Events at real receivers: a webhook that is down, slow, redirects or fails, and a Redis stream."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import shutil
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from fleet.events.event import Event, binary
from fleet.events.events import Events, open_events
from fleet.events.lifecycle import Kind
from fleet.events.outlet import MAX_EVENTS, SinkError
from fleet.events.settings import EventSettings
from fleet.events.stream import RedisStream
from fleet.events.webhook import Webhook
from fleet.runtime.process import StartError
from fleet.runtime.settings import SettingsError
from fleet.runtime.tasks import cancel_and_wait
from tests.support.ports import KeptPort
from tests.support.waiting import until

Received = tuple[dict[str, str], bytes]
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """An HTTP server that answers what it is told to, one after the other; the last answer again and again."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.received: list[Received] = []
        self.answers: list[bytes] = [OK]
        self.gate = asyncio.Event()
        self.gate.set()
        self._server: asyncio.Server | None = None

    async def start(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        return [head["ce-id"] for head, _ in self.received]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
                body = await reader.readexactly(int(head.get("content-length", 0)))
                self.received.append((head, body))
                await self.gate.wait()
                answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
                writer.write(answer)
                await writer.drain()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = await Receiver().start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def events_to(*flags: str) -> AsyncIterator[Events]:
    events = open_events(EventSettings.load(flags))
    events.start()
    try:
        yield events
    finally:
        await events.close()


@pytest.fixture
async def hook(receiver: Receiver) -> AsyncIterator[Events]:
    async with events_to("--events-webhook", receiver.url) as events:
        yield events


async def test_binary_mode(receiver: Receiver, hook: Events) -> None:
    hook.publish(Kind.READY, "shop/w\u00e4b", {"seconds": 1.5})
    await until(lambda: receiver.received)
    ((head, body),) = receiver.received
    assert (head["ce-specversion"], head["ce-type"], head["ce-source"]) == ("1.0", "dev.weir.app.ready", "weir")
    assert (head["ce-subject"], head["content-type"]) == ("shop/w%C3%A4b", "application/json")
    assert abs(datetime.fromisoformat(head["ce-time"]).timestamp() - time.time()) < 60
    assert json.loads(body) == {"app": "shop/w\u00e4b", "seconds": 1.5}
    assert "authorization" not in head
    assert "webhook-signature" not in head


async def test_structured_mode_with_a_token_and_a_signature(receiver: Receiver) -> None:
    flags = ("--events-format", "structured", "--events-token", "s3cret", "--events-signing-key", "k")
    async with events_to("--events-webhook", receiver.url, *flags) as events:
        events.publish(Kind.WAKE, "shop/web", {})
        await until(lambda: receiver.received)
    ((head, body),) = receiver.received
    event = json.loads(body)
    assert (head["content-type"], event["specversion"], event["type"]) == (
        "application/cloudevents+json",
        "1.0",
        "dev.weir.app.wake",
    )
    assert (event["subject"], event["data"], event["datacontenttype"]) == ("shop/web", {"app": "shop/web"}, "application/json")
    assert head["authorization"] == "Bearer s3cret"
    signed = f"{event['id']}.{head['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"k", signed, hashlib.sha256).digest()).decode()
    assert (head["webhook-id"], head["webhook-signature"]) == (event["id"], f"v1,{expected}")


async def test_in_order_and_with_the_same_id_until_it_is_taken(
    receiver: Receiver, hook: Events, caplog: pytest.LogCaptureFixture
) -> None:
    failed = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    receiver.answers = [failed, failed, OK]
    with caplog.at_level(logging.INFO, "fleet.events"):
        for kind in (Kind.WAKE, Kind.READY):
            hook.publish(kind, "shop/web", {})
        await until(lambda: len(receiver.received) == 4)
        await until(lambda: hook.outlets[0].sent == 2)
    first, second, third, fourth = receiver.ids()
    assert first == second == third != fourth
    assert [head["ce-type"][13:] for head, _ in receiver.received] == ["wake", "wake", "wake", "ready"]
    assert (hook.outlets[0].retries, sum(hook.outlets[0].dropped.values())) == (2, 0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"], "once for an outage, and once for its end"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "redirects are not followed"),
        (b"HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n", "the answer is 400"),
        (b"HTTP/1.1 410 X\r\nContent-Length: 0\r\n\r\n", "the answer is 410"),
    ],
)
async def test_what_a_receiver_refuses_for_good_is_dropped_counted_and_said_once(
    receiver: Receiver, hook: Events, caplog: pytest.LogCaptureFixture, answer: bytes, words: str
) -> None:
    receiver.answers = [answer, answer, OK]
    for _ in range(3):
        hook.publish(Kind.WAKE, "shop/web", {})
    await until(lambda: hook.outlets[0].sent == 1)
    assert hook.outlets[0].dropped == {"refused": 2}
    assert len(set(receiver.ids())) == 3
    assert [words in record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [True]


async def test_a_receiver_that_is_down_gets_them_when_it_is_up() -> None:
    with KeptPort() as kept:
        port = kept.number
        async with events_to("--events-webhook", f"http://127.0.0.1:{port}/") as events:
            events.publish(Kind.WAKE, "shop/web", {})
            await until(lambda: events.outlets[0].retries >= 2)
            receiver = await Receiver(port).start()
            await until(lambda: receiver.received)
            await until(lambda: events.outlets[0].sent == 1)
            await receiver.stop()


async def test_a_slow_receiver_costs_the_publisher_nothing_and_the_oldest_are_dropped(receiver: Receiver, hook: Events) -> None:
    receiver.gate.clear()
    hook.publish(Kind.WAKE, "shop/web", {"number": -1})
    await until(lambda: receiver.received)
    began = time.perf_counter()
    for number in range(MAX_EVENTS + 10):
        hook.publish(Kind.WAKE, "shop/web", {"number": number})
    assert time.perf_counter() - began < 5
    outlet = hook.outlets[0]
    assert (outlet.waiting, outlet.dropped) == (MAX_EVENTS, {"full": 11})
    receiver.gate.set()
    await until(lambda: not outlet.waiting)
    numbers = [json.loads(body)["number"] for _, body in receiver.received]
    assert numbers == [-1, *range(10, MAX_EVENTS + 10)]
    text = {sample.name for metric in hook.metrics() for sample in metric.samples}
    assert text == {"weir_events_sent_total", "weir_events_retries_total", "weir_events_dropped_total", "weir_events_waiting"}


class Dribbling:
    """A receiver that goes on answering, and never comes to an end."""

    def __init__(self, begin: bytes, part: bytes) -> None:
        self._begin, self._part = begin, part
        self._serving: set[asyncio.Task[Any]] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await cancel_and_wait(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await reader.read(1)
            writer.write(self._begin)
            while True:
                writer.write(self._part)
                await writer.drain()
                await asyncio.sleep(0.02)  # far less than a read may take
        except ConnectionError:
            pass
        finally:
            self._serving.discard(task)
            writer.transport.abort()


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"),
    ],
)
async def test_an_answer_without_an_end_is_given_up(begin: bytes, part: bytes) -> None:
    event = Event("1", "weir", "wake", "shop/web", 0.0, {})
    async with Dribbling(begin, part).open() as place:
        webhook = Webhook(f"http://{place}/", encode=binary, wall=time.time, timeout=0.5)
        with pytest.raises(SinkError, match=r"no answer within 0\.5 s"):
            await asyncio.wait_for(webhook.send(event), 60)
        await webhook.close()


async def test_an_answer_of_redis_without_an_end_is_given_up() -> None:
    event = Event("1", "weir", "wake", "shop/web", 0.0, {})
    async with Dribbling(b"+", b"x").open() as place:
        stream = RedisStream(f"redis://{place}/0", "events", most=10, timeout=0.3)
        with pytest.raises(SinkError):
            await asyncio.wait_for(stream.send(event), 60)
        await stream.close()


@pytest.mark.parametrize(
    "flags",
    [
        ("--events-webhook", "ftp://x/"),
        ("--events-webhook", "http:///x"),
        ("--events-webhook", "http://x:99999/"),
        ("--events-webhook", "http://a b/"),
        ("--events-redis", "http://x"),
        ("--events-redis", "redis://x:99999/0"),
        ("--events-redis", "redis://x/first"),
        ("--events-format", "xml"),
        ("--events-token", "two words"),
        ("--events-token", "line\n"),
        ("--events-token", "t\u00f6ken"),
        ("--events-source", "a b"),
        ("--events-source", "a\u202eb"),
        ("--events-source", "100%"),
    ],
)
def test_settings_that_are_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError):
        EventSettings.load(flags)


@pytest.mark.parametrize("query", ["nonsense=1", "socket_timeout=soon"])
def test_a_redis_that_cannot_be_used(query: str) -> None:
    with pytest.raises(StartError, match="events_redis"):
        open_events(EventSettings.load(["--events-redis", f"redis://x/0?{query}"]))


def test_secrets_are_not_shown() -> None:
    flags = (
        "--events-webhook",
        "http://a:b@x/",
        "--events-token",
        "t",
        "--events-signing-key",
        "k",
        "--events-redis",
        "redis://:p@x/",
    )
    shown = EventSettings.load(flags).shown()["settings"]
    assert {shown[name] for name in ("events_webhook", "events_token", "events_signing_key", "events_redis")} == {"(hidden)"}


# -- Redis ----------------------------------------------------------------------------------------------------------


class Server:
    """A redis-server of Debian, with a password."""

    def __init__(self, directory: Path) -> None:
        self.kept, self._directory = KeptPort(), directory
        self.port = self.kept.number
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://:pass@127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "pass"]
        command += ["--dir", str(self._directory)]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Server]:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server: make peers")
    server = Server(tmp_path)
    await server.start()
    yield server
    await server.stop()
    server.kept.release()


@contextlib.asynccontextmanager
async def client(server: Server) -> AsyncIterator[Any]:
    made = Redis.from_url(server.url, decode_responses=True)
    try:
        yield made
    finally:
        await made.aclose()


async def test_entries_of_a_redis_stream(redis: Server) -> None:
    async with events_to("--events-redis", redis.url, "--events-stream", "s") as events, client(redis) as reader:
        events.publish(Kind.FAILED, "shop/web", {"reason": "none"})
        await until(lambda: events.outlets[0].sent == 1)
        ((_, entry),) = await reader.xrange("s")
        assert (entry["type"], entry["subject"], entry["specversion"]) == ("dev.weir.app.failed", "shop/web", "1.0")
        assert json.loads(entry["data"]) == {"app": "shop/web", "reason": "none"}


async def test_a_stream_keeps_about_so_many(redis: Server) -> None:
    async with events_to("--events-redis", redis.url, "--events-stream-length", "10") as events, client(redis) as reader:
        for _ in range(500):
            events.publish(Kind.WAKE, "shop/web", {})
        await until(lambda: events.outlets[0].sent == 500)
        assert await reader.xlen("weir-events") <= 110, "Redis cuts whole nodes of a hundred"


async def test_a_redis_that_goes_and_comes_back(redis: Server) -> None:
    async with events_to("--events-redis", redis.url) as events, client(redis) as reader:
        events.publish(Kind.WAKE, "shop/web", {})
        await until(lambda: events.outlets[0].sent == 1)
        await redis.stop()
        events.publish(Kind.READY, "shop/web", {})
        await until(lambda: events.outlets[0].retries >= 2)
        await redis.start()
        await until(lambda: events.outlets[0].sent == 2)
        ((_, entry),) = await reader.xrange("weir-events")
        assert entry["type"] == "dev.weir.app.ready"


async def test_a_key_that_is_no_stream_is_refused(redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with events_to("--events-redis", redis.url) as events, client(redis) as writer:

        async def there() -> bool:
            with contextlib.suppress(Exception):
                return bool(await writer.set("weir-events", "text"))
            return False

        async with asyncio.timeout(60):
            while not await there():  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the server starts, and tells nobody
        events.publish(Kind.WAKE, "shop/web", {})
        await until(lambda: events.outlets[0].dropped["refused"] == 1)
    assert "pass" not in caplog.text, "the password is in no line of the log"
