"""A real Redis behind a TCP port of `weir up`: asleep until a client connects, awake for it, and asleep again."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.system import harness
from tests.system.harness import fleet, running_up, until

FLAGS = pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])


async def redis_cli(port: int, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "redis-cli", "-h", harness.address, "-p", str(port), *words, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        found, _ = await process.communicate()
    return found.decode().strip()


@FLAGS
@pytest.mark.skipif(shutil.which("redis-server") is None or shutil.which("redis-cli") is None, reason="needs Redis")
async def test_redis_sleeps_in_spite_of_monitoring(tmp_path: Path, flags: tuple[str, ...]) -> None:
    port = free_port()
    redis = {
        "name": "redis",
        "command": 'exec redis-server --port $PORT --save "" --appendonly no',
        "cooldown": 1,
        "activity_period": 1,
        "drain": 1,
        "ports": [{"port": port, "uncounted": {"silent": 5, "first_bytes": [r"PING\r\n"]}}],
    }
    async with running_up(tmp_path, fleet(redis), *flags) as up:
        assert up.backends("redis") == []
        assert await redis_cli(port, "SET", "a", "1") == "OK"
        assert await redis_cli(port, "GET", "a") == "1"
        reader, writer = await asyncio.open_connection(harness.address, port)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        await until(lambda: up.backends("redis") == [], what="asleep, although monitoring is connected")
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection(harness.address, port)
        writer.write(b"PING\r\n")
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
        assert up.backends("redis") == []
        assert await redis_cli(port, "PING") == "PONG"
