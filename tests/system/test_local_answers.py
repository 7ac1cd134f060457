"""What people and programs meet while an app of `weir up` sleeps, seen from outside: with a real browser and real processes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, open_page
from tests.system.harness import app, fetch, fleet, running_up, until

START_SECONDS = 2
"""How long the app of these tests takes to listen: long enough to be seen asleep."""


def _site(directory: Path) -> str:
    """A command that serves one page, after a while."""
    site = directory / "site"
    site.mkdir()
    (site / "index.html").write_text("<!doctype html><title>the shop</title><h1>Open</h1>")
    serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(site)]
    return f"sleep {START_SECONDS}; exec {shlex.join(serve)} $PORT"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
async def test_one_visit_wakes_the_app_and_the_page_turns_into_it(tmp_path: Path) -> None:
    shop = app("shop", command=_site(tmp_path), target=10, placeholder=True, activity_period=15)
    async with running_up(tmp_path, fleet(shop)) as up, open_page(tmp_path / "browser") as page:
        await page.go(f"http://shop.localhost:{up.port}/")
        await page.is_titled(f"shop.localhost:{up.port} is waking up")
        await page.screenshot(tmp_path / "asleep.png")
        assert not up.backends("shop")
        await page.is_titled("the shop")
        await page.screenshot(tmp_path / "awake.png")
        assert len(up.backends("shop")) == 1
        assert not page.refusals


async def test_one_request_that_gets_a_placeholder_wakes_an_app_that_scales_on_concurrency(tmp_path: Path) -> None:
    """Nobody asks a second time: the app comes up all the same, and stays for its activity period."""
    shop = app("shop", target=10, placeholder={"everyone": True}, activity_period=3)
    async with running_up(tmp_path, fleet(shop)) as up:
        answer = await fetch(up.port, "shop.localhost")
        assert (answer.status, answer.body) == (503, "weir: shop.localhost is waking up: try again in a few seconds\n")
        await until(lambda: up.backends("shop"), what="a backend")
        while (await fetch(up.port, "shop.localhost")).status != 200:  # the interceptor reads that a moment later
            pass
        await until(lambda: not up.backends("shop"), what="asleep again")


async def test_maintenance_lets_an_app_sleep(tmp_path: Path) -> None:
    shop = app("shop", target=10)
    async with running_up(tmp_path, fleet(shop)) as up:
        assert (await fetch(up.port, "shop.localhost")).status == 200
        up.write(fleet({**shop, "maintenance": True}))

        async def answered() -> bool:
            return (await fetch(up.port, "shop.localhost")).status == 503

        while not await answered():
            pass
        while up.backends("shop"):  # requests go on, and do not keep it awake
            assert await answered()
        up.write(fleet(shop))
        while await answered():
            pass
        assert len(up.backends("shop")) == 1
