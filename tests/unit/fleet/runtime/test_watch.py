"""Watching files: what ends a wait, what does not, and that no resources leak."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet.runtime.watch import FileWatch, InotifyNotifier, WatchfilesNotifier

LONG = 10.0
NOTIFIERS = pytest.mark.parametrize("notifier", [InotifyNotifier, WatchfilesNotifier])
Notifier = Callable[..., Any]


@asynccontextmanager
async def watching(*paths: Path, notifier: Notifier = InotifyNotifier) -> AsyncIterator[FileWatch]:
    tasks = asyncio.all_tasks()
    watch = FileWatch(paths, notifier=notifier)
    watch.start()
    if notifier is WatchfilesNotifier:
        await asyncio.sleep(0)  # the task's first step registers the directories
    try:
        yield watch
    finally:
        await watch.close()
        assert asyncio.all_tasks() == tasks


def publish(path: Path, text: str) -> None:
    fresh = path.with_name(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


@NOTIFIERS
async def test_every_way_in_which_a_file_changes(tmp_path: Path, notifier: Notifier) -> None:
    path = tmp_path / "file"
    async with watching(path, notifier=notifier) as watch:
        path.write_text("made")
        assert await watch.wait(LONG)
        publish(path, "renamed into place")
        assert await watch.wait(LONG)
        path.write_text("written in place")
        assert await watch.wait(LONG)
        path.unlink()
        assert await watch.wait(LONG)


async def test_a_file_that_is_still_being_written_does_not_end_a_wait(tmp_path: Path) -> None:
    async with watching(tmp_path / "file") as watch:
        with (tmp_path / "file").open("w") as file:
            file.write("half")
            file.flush()
            assert not await watch.wait(0.02)
        assert await watch.wait(LONG)


async def test_two_files_in_two_directories(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with watching(tmp_path / "a" / "one", tmp_path / "b" / "two") as watch:
        for path in (tmp_path / "a" / "one", tmp_path / "b" / "two"):
            publish(path, "x")
            assert await watch.wait(LONG)


async def test_a_burst_ends_one_wait(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with watching(path) as watch:
        for number in range(20):
            publish(path, str(number))
        assert await watch.wait(LONG)
        assert not await watch.wait(0.02)


async def test_a_change_between_two_waits_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with watching(path) as watch:
        publish(path, "one")
        assert await watch.wait(LONG)
        publish(path, "two")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await watch.wait(LONG)


async def test_other_files_do_not_end_a_wait(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    async with watching(path) as watch:
        publish(tmp_path / "other", "y")
        assert not await watch.wait(0.02)


async def test_a_directory_that_comes_later_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "later" / "file"
    with caplog.at_level(logging.WARNING):
        async with watching(path) as watch:
            assert f"changes in {path.parent} are seen late: No such file" in caplog.text
            path.parent.mkdir()
            assert not await watch.wait(0.01)
            publish(path, "x")
            assert await watch.wait(LONG)


async def test_without_inotify_it_is_reported_and_waits_end_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fleet.runtime.watch._inotify_init", lambda: (_ for _ in ()).throw(OSError(24, "Too many open files")))
    async with watching(tmp_path / "file") as watch:
        assert "changes of files are seen late: Too many open files" in caplog.text
        assert not await watch.wait(0.01)


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    notifier = InotifyNotifier([tmp_path], lambda _: None)
    notifier.start()
    fd = notifier._fd
    assert os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:inotify"
    await notifier.close()
    await notifier.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
