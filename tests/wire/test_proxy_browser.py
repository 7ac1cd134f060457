"""The pages that come with Weir, as a browser shows them: they work with and without scripts, and load nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import pytest

from fleet.routing.route import ColdStart, Placeholder, Route, Rule, StaticResponse, Target
from interceptor.app.pages import PLACEHOLDER
from tests.support.browser import CHROMIUM, PATIENCE, Page, open_page
from tests.support.loopback import APP
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

APPLICATION = ok(b"<!doctype html><title>the application</title>", b"Content-Type: text/html")


LATER_AND_HIDDEN = """
const now = Date.now;
Date.now = () => now() + 400000;
Object.defineProperty(document, "hidden", {value: true, configurable: true});
"""
"""Minutes have passed in a tab that nobody looks at."""


async def until_it_says(page: Page, words: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while words not in await page.evaluate("document.body.innerText"):  # noqa: ASYNC110 -- a page tells nobody
            await asyncio.sleep(0.05)  # between two questions to another process


def asleep() -> Route:
    cold = ColdStart(placeholder=Placeholder(browsers_only=True))
    return Route(app=APP, target=Target(APP), rules=(Rule(hosts=("localhost",)),), cold_start=cold)


def url(rig: Rig) -> str:
    return f"http://localhost:{rig.interceptor.proxy_port}/some/page?x=1#part"


@pytest.mark.parametrize("flags", [(), ("--blink-settings=scriptEnabled=false",)], ids=["scripts", "no scripts"])
async def test_the_page_turns_into_the_application(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with proxy_rig(backends=0, routes=[asleep()]) as rig, open_page(tmp_path, *flags) as page:
        await page.go(url(rig))
        await page.is_titled(f"localhost:{rig.interceptor.proxy_port} is waking up")
        await page.screenshot(tmp_path / "asleep.png")
        assert rig.app.entry.requests_total
        await rig.backend(answer(APPLICATION))
        await page.is_titled("the application")
        await page.screenshot(tmp_path / "awake.png")
        assert await page.url() == (url(rig).partition("#")[0] if flags else url(rig))
        assert {urlsplit(asked).netloc for asked in page.requests} == {f"localhost:{rig.interceptor.proxy_port}"}
        assert not page.refusals


async def test_the_page_asks_less_and_less_and_is_not_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its refresh is for browsers that forbid the script; the script calls it off, or the picture would begin anew."""
    monkeypatch.setattr(PLACEHOLDER, "_source", PLACEHOLDER._source.replace('content="15;', 'content="3;'))
    async with proxy_rig(backends=0, routes=[asleep()]) as rig, open_page(tmp_path) as page:
        await page.go(url(rig))
        await page.is_titled(f"localhost:{rig.interceptor.proxy_port} is waking up")
        await page.evaluate("window.mark = true")
        began, asked = monotonic(), rig.app.entry.requests_total
        await asyncio.sleep(5)  # more than until its refresh, on the browser's own clock
        await eventually(lambda: rig.app.entry.requests_total >= asked + 2, within=PATIENCE)
        assert await page.evaluate("window.mark"), "it was loaded again"
        assert rig.app.entry.requests_total - asked <= monotonic() - began, "less than one a second"


async def test_a_page_that_nobody_looks_at_ceases_to_ask(tmp_path: Path) -> None:
    async with proxy_rig(backends=0, routes=[asleep()]) as rig, open_page(tmp_path) as page:
        await page.go(url(rig))
        await page.is_titled(f"localhost:{rig.interceptor.proxy_port} is waking up")
        await page.evaluate(LATER_AND_HIDDEN)
        await until_it_says(page, "It takes longer than usual.")
        asked = rig.app.entry.requests_total
        await asyncio.sleep(2)  # the page would have asked again by now, on the browser's own clock
        assert rig.app.entry.requests_total == asked
        await rig.backend(answer(APPLICATION))
        await page.evaluate("Object.defineProperty(document, 'hidden', {value: false})")
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await page.is_titled("the application")


async def test_an_error_on_the_way_is_not_taken_for_the_application(tmp_path: Path) -> None:
    """An interceptor that is replaced, a proxy before it that finds none for a moment: 502 or 503, and not for long."""
    async with proxy_rig(backends=0, routes=[asleep()]) as rig, open_page(tmp_path) as page:
        await page.go(url(rig))
        await page.is_titled(f"localhost:{rig.interceptor.proxy_port} is waking up")
        answers = iter([b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"] * 2)

        async def script(peer: BackendPeer) -> None:
            await peer.request()
            peer.send(next(answers, APPLICATION))

        await rig.backend(script)
        await page.is_titled("the application")


async def test_the_page_for_maintenance(tmp_path: Path) -> None:
    down = Route(app=APP, target=Target(APP), rules=(Rule(hosts=("localhost",)),), maintenance=StaticResponse())
    async with proxy_rig(routes=[down]) as rig, open_page(tmp_path) as page:
        await page.go(url(rig))
        await page.is_titled(f"localhost:{rig.interceptor.proxy_port} is in maintenance")
        assert await page.evaluate("getComputedStyle(document.querySelector('main')).textAlign") == "center"
        await page.screenshot(tmp_path / "maintenance.png")
        assert not page.refusals
