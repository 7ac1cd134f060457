"""List-and-watch against a server that does everything wrong that servers do: nothing is missed, nothing vanishes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleet.discovery.kubernetes import lines
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import CONFIG_MAPS
from tests.support.apiserver import ApiServer, Request, write_kubeconfig
from tests.support.waiting import turns, until

QUICK = Timing(resync=3600, first_pause=0.01, longest_pause=0.05, silence=3600)
ALL = "/api/v1/configmaps"


class Value(msgspec.Struct, frozen=True):
    data: str


def parse(raw: msgspec.Raw) -> str:
    return msgspec.json.decode(raw, type=Value).data


def path(name: str, namespace: str = "default") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}"


class Followed:
    """A list-and-watch, and what it has told."""

    def __init__(self, api: Api, timing: Timing = QUICK, **options: Any) -> None:
        self.watch = ListWatch(api, CONFIG_MAPS, parse, timing=timing, **options)
        self.changes: list[Change[str]] = []
        self.watch.subscribe(self.changes.append)

    @property
    def now(self) -> dict[str, str]:
        return dict(self.watch.items())

    @property
    def told_gone(self) -> list[str]:
        return [change.key for change in self.changes if change.after is None]


@asynccontextmanager
async def following(server: ApiServer, followed: Followed, *, watches: int = 1) -> AsyncIterator[Followed]:
    """From when it is synced and watches; it leaves no task behind."""
    before = asyncio.all_tasks()
    followed.watch.start()
    try:
        async with asyncio.timeout(60):
            await followed.watch.synced.wait()
        await until(lambda: len(server.watches) == watches)
        yield followed
    finally:
        await followed.watch.close()
        assert {task for task in asyncio.all_tasks() - before if "list" in task.get_name() or "watch" in task.get_name()} == set()


async def test_what_is_there_is_reported_and_what_changes(server: ApiServer, api: Api) -> None:
    server.put(path("a"), data="1")
    async with following(server, Followed(api)) as followed:
        assert followed.now == {"default/a": "1"}
        server.put(path("b"), data="2")
        server.put(path("a"), data="3")
        server.delete(path("b"))
        await until(lambda: len(followed.changes) == 4)
        assert followed.changes == [
            Change("default/a", None, "1"),
            Change("default/b", None, "2"),
            Change("default/a", "1", "3"),
            Change("default/b", "2", None),
        ]
        assert followed.watch.get("default/a") == "3"
        assert followed.watch.get("default/b") is None


async def test_many_come_in_pages(server: ApiServer, api: Api) -> None:
    for number in range(1200):
        server.put(path(f"n{number}"), data=str(number))
    async with following(server, Followed(api)) as followed:
        assert len(followed.watch) == 1200
        assert [request.query.get("limit") for request in server.lists()] == ["500"] * 3
        assert [bool(request.query.get("continue")) for request in server.lists()] == [False, True, True]


async def test_a_page_that_the_server_has_forgotten_is_asked_for_with_all_others(server: ApiServer, api: Api) -> None:
    for number in range(600):
        server.put(path(f"n{number}"), data="x")
    server.continue_expires = True
    async with following(server, Followed(api)) as followed:
        assert len(followed.watch) == 600
        assert server.lists()[-1].query == {}


@pytest.mark.parametrize("by_status", [False, True])
async def test_a_watch_that_has_lost_its_place_begins_with_a_list(server: ApiServer, api: Api, by_status: bool) -> None:
    for name in "abc":
        server.put(path(name), data="1")
    async with following(server, Followed(api)) as followed:
        if by_status:
            server.fail(410, watches=True)
        watch = server.watches.pop()
        watch.muted = True
        server.delete(path("a"))
        server.put(path("b"), data="2")
        if not by_status:
            server.compact()
        watch.end()
        await until(lambda: len(server.watches) == 1 and len(server.lists()) == 2)
        assert followed.now == {"default/b": "2", "default/c": "1"}
        assert followed.told_gone == ["default/a"]
        server.put(path("d"), data="1")
        await until(lambda: "default/d" in followed.now)


async def test_a_watch_that_always_has_lost_its_place_is_no_hot_loop(server: ApiServer, api: Api) -> None:
    followed = Followed(api)
    async with following(server, followed):
        server.fail(410, watches=True, times=1000)
        server.watches[0].end()
        began = time.monotonic()
        await until(lambda: len(server.lists()) > 6)
        assert time.monotonic() - began > 4 * 0.025  # the longest pause, halved, five times at least


async def test_a_connection_cut_in_the_middle_of_a_line_loses_nothing(server: ApiServer, api: Api) -> None:
    async with following(server, Followed(api)) as followed:
        watch = server.watches.pop()
        server.put(path("a"), data="1")
        event = json.dumps({"type": "ADDED", "object": server.objects[path("a")]}).encode()
        watch.send_raw(event[: len(event) // 2])
        await turns()
        assert followed.changes == [], "half a line is no event"
        watch.cut()
        await until(lambda: followed.changes)
        assert followed.changes == [Change("default/a", None, "1")]
        assert len(server.lists()) == 1, "the next watch goes on where this one was"


async def test_an_event_may_come_in_any_pieces(server: ApiServer, api: Api) -> None:
    async with following(server, Followed(api)) as followed:
        (watch,) = server.watches
        server.watches.clear()
        events = b""
        for name in ("a", "b"):
            server.put(path(name), data="1")
            events += json.dumps({"type": "ADDED", "object": server.objects[path(name)]}).encode() + b"\n"
        for position in range(0, len(events), 7):
            watch.send_raw(events[position : position + 7])
            await asyncio.sleep(0)
        await until(lambda: followed.now == {"default/a": "1", "default/b": "1"})


async def test_a_watch_that_is_silent_is_left(server: ApiServer, api: Api) -> None:
    timing = msgspec.structs.replace(QUICK, silence=0.1)
    async with following(server, Followed(api, timing)) as followed:
        server.watches[0].muted = True
        server.put(path("a"), data="1")
        await until(lambda: followed.now == {"default/a": "1"})
        assert len(server.lists()) == 1


async def test_what_a_dropped_watch_does_not_tell_the_next_list_tells(server: ApiServer, api: Api) -> None:
    server.put(path("a"), data="1")
    timing = msgspec.structs.replace(QUICK, resync=0.2)
    async with following(server, Followed(api, timing)) as followed:
        dropped = server.watches[0]
        dropped.muted = True
        server.put(path("b"), data="2")
        server.delete(path("a"))
        await until(lambda: followed.now == {"default/b": "2"})
        await until(lambda: server.watches and server.watches[-1] is not dropped)
        server.put(path("c"), data="3")
        lists = len(server.lists())
        await until(lambda: "default/c" in followed.now)
        assert len(server.lists()) == lists, "told by the new watch"


async def test_a_list_that_tells_nothing_new_leaves_the_watch_alone(server: ApiServer, api: Api) -> None:
    server.put(path("a"), data="1")
    timing = msgspec.structs.replace(QUICK, resync=0.02)
    async with following(server, Followed(api, timing)) as followed:
        await until(lambda: len(server.lists()) > 5)
        assert len([request for request in server.requests if request.is_watch]) == 1
        assert len(followed.changes) == 1


async def test_a_server_that_is_away_takes_nothing_away(server: ApiServer, api: Api) -> None:
    for name in "abc":
        server.put(path(name), data="1")
    timing = msgspec.structs.replace(QUICK, resync=0.05)
    async with following(server, Followed(api, timing)) as followed:
        await server.down()
        server.delete(path("a"))
        server.put(path("d"), data="1")
        await asyncio.sleep(0.3)  # many attempts of both kinds; a server that is not there cannot count them
        assert set(followed.now) == {"default/a", "default/b", "default/c"}
        with pytest.raises(ApiError):
            await followed.watch.relist()
        await server.up()
        await until(lambda: set(followed.now) == {"default/b", "default/c", "default/d"})
        assert followed.told_gone == ["default/a"]
        await until(lambda: len(server.watches) == 1)
        server.put(path("e"), data="1")
        await until(lambda: "default/e" in followed.now)


async def test_patience_is_kept_when_asked_for(server: ApiServer, api: Api) -> None:
    server.fail(429, headers={"Retry-After": "1"})
    followed = Followed(api)
    began = time.monotonic()
    async with following(server, followed):
        assert time.monotonic() - began >= 1.0
        assert len(server.lists()) == 2


@pytest.mark.parametrize("status", [500, 503, 504])
async def test_a_storm_of_failures_is_waited_out(server: ApiServer, api: Api, status: int) -> None:
    server.put(path("a"), data="1")
    server.fail(status, times=12)
    began = time.monotonic()
    async with following(server, Followed(api)) as followed:
        assert followed.now == {"default/a": "1"}
        assert time.monotonic() - began > 0.2, "pauses grow"
        server.fail(status, times=6, watches=True)
        server.watches[0].cut()
        server.put(path("a"), data="2")
        await until(lambda: followed.now == {"default/a": "2"})
        assert followed.told_gone == []


async def test_errors_told_in_a_watch_are_survived(server: ApiServer, api: Api) -> None:
    async with following(server, Followed(api)) as followed:
        for line in (b'{"type":"ERROR","object":{"code":500,"message":"etcd has no leader"}}\n', b"<html>\n", b'{"type":1}\n'):
            await until(lambda: len(server.watches) == 1)
            watch = server.watches.pop()
            watch.send_raw(line)
            server.put(path("a"), data=str(server.version))
            await until(lambda: followed.now.get("default/a") == server.objects[path("a")]["data"])
        assert len(server.lists()) == 1


async def test_a_bookmark_is_where_the_next_watch_begins(server: ApiServer, api: Api) -> None:
    async with following(server, Followed(api)):
        server.bookmark()
        bookmarked = server.version
        await turns()
        server.watches[0].end()
        await until(lambda: len(server.watches) == 1)
        assert server.requests[-1].query["resourceVersion"] == str(bookmarked)
        assert server.requests[-1].query["allowWatchBookmarks"] == "true"
        assert int(server.requests[-1].query["timeoutSeconds"]) >= QUICK.watch


async def test_a_watch_that_ends_at_once_is_no_hot_loop(server: ApiServer, api: Api) -> None:
    async with following(server, Followed(api)):
        began, before = time.monotonic(), len(server.requests)
        while time.monotonic() - began < 0.4:
            await asyncio.sleep(0)
            for watch in server.watches:
                watch.end()
            server.watches.clear()
        assert len(server.requests) - before < (time.monotonic() - began) / 0.025 + 5


async def test_a_list_overtaken_by_the_watch_brings_nothing_back(server: ApiServer, api: Api) -> None:
    server.put(path("a"), data="1")
    async with following(server, Followed(api)) as followed:
        server.list_gate.clear()
        relisting = asyncio.create_task(followed.watch.relist())
        await until(lambda: len(server.lists()) == 2)
        server.delete(path("a"))
        server.put(path("b"), data="2")
        await until(lambda: followed.now == {"default/b": "2"})
        server.list_gate.set()
        await relisting
        assert followed.now == {"default/b": "2"}
        assert [(change.key, change.after) for change in followed.changes] == [
            ("default/a", "1"),
            ("default/a", None),
            ("default/b", "2"),
        ]


async def test_a_server_restored_from_a_copy_is_followed(server: ApiServer, api: Api) -> None:
    server.put(path("a"), data="1")
    server.put(path("b"), data="2")
    async with following(server, Followed(api)) as followed:
        server.watches[0].muted = True
        server.version, server.history = 10, []
        server.objects.clear()
        server.put(path("a"), data="before")
        await followed.watch.relist()
        assert followed.now == {"default/a": "before"}
        await until(lambda: server.watches and not server.watches[-1].muted)
        server.put(path("a"), data="after")
        await until(lambda: followed.now == {"default/a": "after"})


async def test_an_object_that_is_not_understood_keeps_what_was_known(
    server: ApiServer, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(path("a"), data="1")
    async with following(server, Followed(api)) as followed:
        server.put(path("a"), data={"not": "text"})
        server.put(path("b"), data="2")
        await until(lambda: "default/b" in followed.now)
        await followed.watch.relist()
        assert followed.now == {"default/a": "1", "default/b": "2"}
        told = [record.message for record in caplog.records if "default/a is not understood" in record.message]
        assert len(told) == 1
        assert "str" in told[0]
        server.put(path("a"), data="3")
        await until(lambda: followed.now["default/a"] == "3")


async def test_only_some_namespaces_and_what_selectors_choose(server: ApiServer, api: Api) -> None:
    for namespace in ("one", "two", "three"):
        server.put(path("a", namespace), data="1", metadata={"labels": {"of": "us"}})
        server.put(path("b", namespace), data="1")
    followed = Followed(api, namespaces=("one", "two"), labels="of=us")
    async with following(server, followed, watches=2):
        assert set(followed.now) == {"one/a", "two/a"}
        assert {request.path for request in server.requests} == {
            f"/api/v1/namespaces/{name}/configmaps" for name in ("one", "two")
        }
        assert followed.watch.covers("two")
        assert not followed.watch.covers("three")
        server.put(path("a", "two"), data="2", metadata={"labels": {"of": "them"}})
        await followed.watch.relist()
        assert set(followed.now) == {"one/a"}


async def test_what_is_not_wanted_is_not_kept_until_it_is_fetched(server: ApiServer, api: Api) -> None:
    for name in "abc":
        server.put(path(name), data="1")
    wanted = {"a"}
    async with following(server, Followed(api, keep=lambda head: head.name in wanted)) as followed:
        server.put(path("b"), data="2")
        server.put(path("a"), data="2")
        await until(lambda: followed.now == {"default/a": "2"})
        wanted.add("b")
        await followed.watch.fetch("default", fields="metadata.name=b")
        assert followed.now == {"default/a": "2", "default/b": "2"}
        server.put(path("b"), data="3")
        await until(lambda: followed.now["default/b"] == "3")
        wanted.discard("a")
        followed.watch.discard("default/a")
        await followed.watch.relist()
        assert followed.now == {"default/b": "3"}


async def test_refused_credentials_are_read_again(server: ApiServer, api: Api) -> None:
    kubeconfig = Path(os.environ["KUBECONFIG"])

    def has_old_token(request: Request) -> bool:
        return request.headers["authorization"] == "Bearer first"

    async with following(server, Followed(api)) as followed:
        server.fail(401, times=1000)
        server.faults[-1].matches = has_old_token
        with pytest.raises(ApiError, match="401"):
            await followed.watch.relist()
        write_kubeconfig(kubeconfig, server.port, token="second")  # noqa: S106
        await until(lambda: server.requests[-1].headers["authorization"] == "Bearer second")
        await followed.watch.relist()
        server.put(path("a"), data="1")
        await until(lambda: followed.now == {"default/a": "1"})


@pytest.mark.parametrize("answer", [{"metadata": {"resourceVersion": "x1"}, "items": []}, {"items": 1}, {"metadata": {}}])
async def test_an_answer_that_is_no_list_is_an_error_and_takes_nothing_away(
    server: ApiServer, api: Api, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object]
) -> None:
    server.put(path("a"), data="1")
    async with following(server, Followed(api)) as followed:
        with monkeypatch.context() as patched:
            patched.setattr(server, "_list", lambda request: (200, answer))
            with pytest.raises(ApiError, match=ALL):
                await followed.watch.relist()
            with pytest.raises(ApiError, match="configmaps"):
                await followed.watch.fetch("default")
        await followed.watch.relist()
        assert followed.now == {"default/a": "1"}


async def test_whoever_waits_for_a_list_learns_of_its_end(server: ApiServer, api: Api) -> None:
    followed = Followed(api)
    async with following(server, followed):
        server.list_gate.clear()
        waiting = [asyncio.create_task(followed.watch.relist()) for _ in range(2)]
        await until(lambda: len(server.lists()) == 2)
        waiting.append(asyncio.create_task(followed.watch.relist()))
        await asyncio.sleep(0)
    for task in waiting:
        with pytest.raises(ApiError, match="not followed any more"):
            await task


async def test_trouble_is_reported_once_and_its_end(server: ApiServer, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fleet.discovery.kubernetes")
    async with following(server, Followed(api)):
        server.fail(500, times=4, watches=True)
        server.watches[0].cut()
        await until(lambda: len(server.watches) == 1)
        server.bookmark()
        await until(lambda: any("all is well" in record.message for record in caplog.records))
        warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert ALL in warnings[0]


def test_lines_are_given_out_whole_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 8)
    split = lines.Lines()
    assert split.feed(b"ab") == []
    assert split.feed(b"c\nd\n\nef") == [b"abc", b"d", b""]
    assert split.feed(b"\n") == [b"ef"]
    with pytest.raises(lines.LineTooLong):
        split.feed(b"123456789")
