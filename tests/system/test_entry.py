"""The example of one entry for a whole system, in a real browser: everything that it needs sleeps at zero."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.browser import CHROMIUM, PATIENCE, Page, open_page
from tests.system.harness import running_up, until

ENTRY = Path(__file__).parents[2] / "deploy" / "examples" / "local" / "entry.yaml"


async def until_shown(page: Page, element: str, pattern: str) -> str:
    """What an element says once it fits."""
    script = f"document.getElementById('{element}').innerText"
    async with asyncio.timeout(PATIENCE):
        while not re.fullmatch(pattern, said := str(await page.evaluate(script))):  # noqa: ASYNC110 -- a page tells nobody
            await asyncio.sleep(0.05)
    return said


def by_https() -> dict[str, Any]:
    """The example with a free port for TLS."""
    document: dict[str, Any] = yaml.safe_load(ENTRY.read_text())
    apps = [{**app, "cwd": str(ENTRY.parent / app["cwd"])} for app in document["apps"]]
    return {**document, "apps": apps, "ports": {"proxy_tls": 0}}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_page_calls_a_grpc_server_and_hears_of_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # which has grpcio
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "authority"))
    file, flags, trusts = (ENTRY, (), ()) if scheme == "http" else (by_https(), ("--tls",), ("--ignore-certificate-errors",))
    async with running_up(tmp_path, file, *flags) as up, open_page(tmp_path / "browser", *trusts) as page:
        assert not any(up.backends(name) for name in ("web", "updates", "prices"))
        (interceptor,) = up.components("interceptor")
        port = up.port if scheme == "http" else interceptor["proxy_tls_port"]
        await page.go(f"{scheme}://shop.localhost:{port}/")
        await page.is_titled("Shop")
        assert await until_shown(page, "status", "complete|.*rror.*") == "complete"
        assert await until_shown(page, "prices", r"(?s).*tea: 5\.00") == "\n".join(f"tea: {price}.00" for price in range(1, 6))
        await until_shown(page, "updates", r"\d\d:\d\d:\d\d")
        await page.screenshot(tmp_path / "entry.png")
        assert not page.complaints
        await until(lambda: not up.backends("prices"), what="the server sleeps, and the WebSocket does not keep it awake")
        assert up.backends("updates"), "an open WebSocket is a request"
