"""`weir up` with an app that is not started here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.system.harness import app, fetch, fleet, running_up, until


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_an_app_that_runs_elsewhere_is_routed_to(tmp_path: Path, flags: tuple[str, ...]) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nelsewhere")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    own = {"command": None, "cooldown": None, "activity_period": None}
    docs = {name: value for name, value in app("docs", outside={"host": "localhost", "port": port}).items() if name not in own}
    web = app("web", backends=[{"addresses": [f"127.0.0.1:{port}"]}], paths=["/elsewhere"])
    async with server, running_up(tmp_path, fleet(docs, web), *flags) as up:
        told = await fetch(up.port, "docs.localhost")
        assert (told.status, told.body) == (200, "elsewhere")
        assert (await fetch(up.port, "web.localhost", "/elsewhere")).body == "elsewhere"
        assert all(b"CDN-Loop: weir-" in head for head in heads)
        assert up.backends("docs") == []
        await until(lambda: len(heads) == 2)
