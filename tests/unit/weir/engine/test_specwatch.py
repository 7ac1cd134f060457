"""Waiting for the file of apps and the files that it names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from weir.engine.specwatch import SpecWatch

LONG = 10.0


@asynccontextmanager
async def watching(file: Path) -> AsyncIterator[SpecWatch]:
    tasks = asyncio.all_tasks()
    watch = SpecWatch(file)
    watch.start()
    try:
        yield watch
    finally:
        await watch.close()
        assert asyncio.all_tasks() == tasks


async def passed(watch: SpecWatch, longest: float = LONG) -> bool:
    """Whether a wait ended before its time."""
    began = time.monotonic()
    await watch.wait(longest)
    return time.monotonic() - began < longest


async def test_files_that_are_named_later_are_watched_too(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    file, page = tmp_path / "fleet.yaml", tmp_path / "pages" / "soon.html"
    async with watching(file) as watch:
        file.write_text("a")
        assert await passed(watch)
        await watch.also({page})
        assert await passed(watch), "it was read before it was watched"
        await watch.also({page})
        assert not await passed(watch, 0.02)
        page.write_text("b")
        assert await passed(watch)
        file.write_text("c")
        assert await passed(watch)


async def test_files_that_are_not_named_any_more_are_left_alone(tmp_path: Path) -> None:
    file, page = tmp_path / "fleet.yaml", tmp_path / "soon.html"
    async with watching(file) as watch:
        await watch.also({page})
        await watch.also(())
        await watch.wait(LONG)
        page.write_text("b")
        assert not await passed(watch, 0.02)
