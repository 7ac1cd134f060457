"""A headless Chromium with one page, controlled by the DevTools protocol: shows what a person would see."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import websockets

__all__ = ["CHROMIUM", "PATIENCE", "Page", "open_page"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 120.0
"""Seconds for a browser to start, or a page to have the expected content; far more than either takes on a busy machine."""
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--remote-debugging-port=0")


class Page:
    """The page that is shown, and the errors that it reported."""

    def __init__(self, socket: websockets.ClientConnection, port: int) -> None:
        self.complaints: list[str] = []
        """Errors on the console, and violations of policies."""
        self.requests: list[str] = []
        """URLs that the page requested."""
        self._socket = socket
        self._port = port
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        message = await asyncio.wait_for(answer, PATIENCE)
        assert "result" in message, f"{method}: {message}"
        result: dict[str, Any] = message["result"]
        return result

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, also of an array or of an object."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    @property
    def refusals(self) -> list[str]:
        """Actions that a policy of the page has blocked."""
        return [text for text in self.complaints if "Content Security Policy" in text]

    async def title(self) -> str:
        return str((await self._shown())["title"])

    async def url(self) -> str:
        return str((await self._shown())["url"])

    async def _shown(self) -> dict[str, Any]:
        """The current state of the browser's frame, read without running a script."""
        return next(target for target in await _targets(self._port) if target["type"] == "page")

    async def is_titled(self, title: str) -> None:
        """Wait until the page has this title."""
        began = monotonic()
        while (seen := await self.title()) != title:
            assert monotonic() - began < PATIENCE, f"the title is still {seen!r}"
            await asyncio.sleep(0.05)

    async def screenshot(self, path: Path) -> None:
        picture = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(picture["data"]))

    async def listen(self) -> None:
        """Process the browser's events until it ends."""
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            elif message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message["method"] == "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])


@asynccontextmanager
async def open_page(home: Path, *flags: str) -> AsyncIterator[Page]:
    """A new browser with its files under `home`; it ends with the block."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *_FLAGS,
        *flags,
        f"--user-data-dir={home}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port, address = await _started(home)
        async with websockets.connect(address, max_size=None) as socket:
            page = Page(socket, port)
            listener = asyncio.create_task(page.listen(), name="browser")
            try:
                for domain in ("Page", "Runtime", "Network", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
            finally:
                listener.cancel()
    finally:
        process.terminate()
        await process.wait()


async def _targets(port: int) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        targets: list[dict[str, Any]] = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
        return targets


async def _started(home: Path) -> tuple[int, str]:
    """The port for controlling the browser, and the address of its page. The browser writes its port to a file."""
    async with asyncio.timeout(PATIENCE):
        while True:
            port = _port(home / "DevToolsActivePort")
            for target in await _targets(port) if port else []:
                if target["type"] == "page":
                    return port, target["webSocketDebuggerUrl"]
            await asyncio.sleep(0.05)


def _port(file: Path) -> int:
    """The port in the file; 0 while it is not written yet."""
    lines = file.read_text().split("\n") if file.exists() else []
    return int(lines[0]) if len(lines) > 1 else 0
