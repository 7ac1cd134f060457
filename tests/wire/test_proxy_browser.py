"""The pages that come with Weir, as a browser shows them: they work with and without scripts, and load nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fleet.routing.route import ColdStart, Placeholder, Route, Rule, StaticResponse, Target
from tests.support.browser import CHROMIUM, open_page
from tests.wire.proxy_backend import answer, ok
from tests.wire.proxy_rig import APP, Rig, proxy_rig

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"), pytest.mark.timeout(120)]

APPLICATION = ok(b"<!doctype html><title>the application</title>", b"Content-Type: text/html")


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


async def test_the_page_for_maintenance(tmp_path: Path) -> None:
    down = Route(app=APP, target=Target(APP), rules=(Rule(hosts=("localhost",)),), maintenance=StaticResponse())
    async with proxy_rig(routes=[down]) as rig, open_page(tmp_path) as page:
        await page.go(url(rig))
        await page.is_titled(f"localhost:{rig.interceptor.proxy_port} is in maintenance")
        assert await page.evaluate("getComputedStyle(document.querySelector('main')).textAlign") == "center"
        await page.screenshot(tmp_path / "maintenance.png")
        assert not page.refusals
