"""Sources that watch files: what they report, how soon, and what they keep if a file becomes invalid."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from fleet.discovery.files import FileBackends, FileMembers, FileRoutes, write_backends, write_members, write_routes
from fleet.discovery.sources import Backend, Member, SourceError
from fleet.routing.route import Route, Target
from fleet.routing.table import RoutingTable

T = TypeVar("T")
NEVER = 3600.0
A, B = Backend("127.0.0.1", 8001), Backend("127.0.0.1", 8002)


class Source(Protocol):
    async def start(self) -> None: ...

    async def close(self) -> None: ...


@asynccontextmanager
async def running(source: Source) -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    await source.start()
    try:
        yield
    finally:
        await source.close()
        assert asyncio.all_tasks() == before


def first(subscribe: Callable[[Callable[[T], None]], Callable[[], None]]) -> asyncio.Future[T]:
    """The next value that a source reports."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def on_change(value: T) -> None:
        if not future.done():
            future.set_result(value)

    unsubscribe = subscribe(on_change)
    future.add_done_callback(lambda _: unsubscribe())
    return future


async def soon(future: asyncio.Future[T]) -> T:
    return await asyncio.wait_for(future, 60)


def table(*apps: str) -> RoutingTable:
    return RoutingTable([Route(app=app, target=Target(service=app, port=80)) for app in apps])


async def test_reads_what_is_there_at_the_start(tmp_path: Path) -> None:
    write_routes(tmp_path / "routes.json", table("default/web"))
    source = FileRoutes(tmp_path / "routes.json")
    assert source.current is None
    async with running(source):
        assert source.current is not None
        assert list(source.current.apps) == ["default/web"]


async def test_sees_a_rename_at_once(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    write_routes(path, table("default/web"))
    source = FileRoutes(path, NEVER)
    async with running(source):
        for number in range(5):
            change = first(source.subscribe)
            write_routes(path, table("default/web", f"default/app{number}"))
            assert f"default/app{number}" in (await soon(change)).apps


async def test_sees_a_write_in_place(tmp_path: Path) -> None:
    path = tmp_path / "backends.json"
    write_backends(path, {"default/web": [A]})
    source = FileBackends(path, NEVER)
    async with running(source):
        change = first(source.subscribe)
        path.write_text(path.read_text().replace("8001", "8002"))
        assert await soon(change) == "default/web"
        assert source.get("default/web") == (B,)


async def test_sees_the_swap_of_a_mounted_volume(tmp_path: Path) -> None:
    def publish(name: str, backend: Backend) -> None:
        write_backends_in = tmp_path / name
        write_backends_in.mkdir()
        write_backends(write_backends_in / "backends.json", {"default/web": [backend]})
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    publish("..1", A)
    (tmp_path / "backends.json").symlink_to(Path("..data") / "backends.json")
    source = FileBackends(tmp_path / "backends.json", NEVER)
    async with running(source):
        assert source.get("default/web") == (A,)
        for name, backend in (("..2", B), ("..3", A)):
            change = first(source.subscribe)
            publish(name, backend)
            await soon(change)
            assert source.get("default/web") == (backend,)


async def test_a_file_may_come_later_and_its_directory_too(tmp_path: Path) -> None:
    path = tmp_path / "later" / "members.json"
    source = FileMembers(path, resync=0.02)
    async with running(source):
        assert source.current is None
        change = first(source.subscribe)
        path.parent.mkdir()
        write_members(path, [Member("a", "127.0.0.1:9090")])
        assert await soon(change) == (Member("a", "127.0.0.1:9090"),)


async def test_a_broken_watch_is_made_good_by_the_resync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "backends.json"
    monkeypatch.setattr("fleet.runtime.watch.InotifyNotifier.start", lambda _: None)
    source = FileBackends(path, resync=0.02)
    async with running(source):
        change = first(source.subscribe)
        write_backends(path, {"default/web": [A]})
        assert await soon(change) == "default/web"


@pytest.mark.parametrize("wrong", ["{", "[]", '{"backends": {"default/web": [{"host": "web.local", "port": 1}]}}', None])
async def test_a_wrong_file_keeps_the_last_good_one_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: str | None
) -> None:
    path = tmp_path / "backends.json"
    write_backends(path, {"default/web": [A]})
    source = FileBackends(path, NEVER)
    async with running(source):
        told: list[str] = []
        source.subscribe(told.append)
        with caplog.at_level(logging.WARNING):
            path.unlink() if wrong is None else path.write_text(wrong)
            for _ in range(3):
                await source._file._try_read()
        assert source.get("default/web") == (A,)
        assert told == []
        assert [str(path) in record.getMessage() for record in caplog.records] == [True]
        change = first(source.subscribe)
        write_backends(path, {"default/web": [B]})
        await soon(change)
        assert source.get("default/web") == (B,)


async def test_refresh_reads_now_and_raises_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    write_routes(path, table("default/web"))
    source = FileRoutes(path, NEVER)
    await source.refresh()
    good = source.current
    assert good is not None
    path.write_text('{"routes": [{"app": 1}]}')
    with pytest.raises(SourceError, match=r"routes\.json: .*routes.*app"):
        await source.refresh()
    assert source.current is good
    path.unlink()
    with pytest.raises(SourceError, match="No such file"):
        await source.refresh()


async def test_backends_tell_only_the_keys_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "backends.json"
    write_backends(path, {"default/a": [A], "default/b": [A], "default/c": [A]})
    source = FileBackends(path, NEVER)
    async with running(source):
        told: list[str] = []
        source.subscribe(told.append)
        change = first(source.subscribe)
        write_backends(path, {"default/a": [A], "default/b": [B, A], "default/d": [B]})
        await soon(change)
        assert told == ["default/b", "default/c", "default/d"]
        assert source.get("default/c") == ()


async def test_yaml_by_suffix(tmp_path: Path) -> None:
    path = tmp_path / "members.yaml"
    path.write_text("members:\n- {name: a, address: '127.0.0.1:9090'}\n")
    source = FileMembers(path)
    async with running(source):
        assert source.current == (Member("a", "127.0.0.1:9090"),)


async def test_a_large_table_is_read_and_an_equal_one_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    write_routes(path, table(*(f"default/app{number}" for number in range(2000))))
    source = FileRoutes(path, NEVER)
    await source.refresh()
    assert source.current is not None
    assert len(source.current.routes) == 2000
    told: list[RoutingTable] = []
    source.subscribe(told.append)
    path.write_bytes(path.read_bytes() + b"\n")
    await source.refresh()
    assert told == []


def test_writers_leave_an_equal_file_alone_and_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "backends.json"
    assert write_backends(path, {"default/web": [B, A]})
    inode = path.stat().st_ino
    assert not write_backends(path, {"default/web": [A, B]})
    assert path.stat().st_ino == inode
    assert write_backends(path, {"default/web": [A]})
    assert [entry.name for entry in tmp_path.iterdir()] == ["backends.json"]
    with pytest.raises(SourceError, match="No such file"):
        write_members(tmp_path / "missing" / "members.json", [])
