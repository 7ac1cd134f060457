"""A real MQTT broker (mosquitto) behind a TCP port of `weir up`, with and without TLS, and behind its HTTP port by WebSocket."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.support.ports import free_port
from tests.system import harness
from tests.system.harness import Up, fleet, running_up, until
from tests.system.mqtt import broker, needs_mosquitto

pytestmark = needs_mosquitto
NAME = "mqtt.localhost"
CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04over"
CONNACK = b"\x20\x02\x00\x00"
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


async def client(program: str, port: int, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        program, "-h", harness.address, "-p", str(port), "-t", "things/1", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def leased(up: Up, name: str) -> int:
    """The number of a lease, as users find it."""
    command = (sys.executable, "-m", "weir", "port", "list", "--of", str(up.file), "-o", "json")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    return next(int(item["port"]) for item in json.loads(await said(process)) if item["name"] == name)


async def said(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(harness.PATIENCE):
        text, _ = await process.communicate()
    assert process.returncode == 0, text
    return text.decode().strip()


async def test_subscribers_get_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "authority"))
    authority = str(tmp_path / "authority" / "authority.crt")
    file = fleet(broker(tmp_path, {"lease": "mqtt"}, {"lease": "mqtts", "tls": "terminate"}), ports={"proxy_tls": 0})
    async with running_up(tmp_path, file, "--tls") as up:
        assert up.backends("mqtt") == []
        plain, over_tls = await leased(up, "mqtt"), await leased(up, "mqtts")
        assert await said(await client("mosquitto_pub", plain, "-m", "kept", "-r", "-q", "1")) == ""
        subscribers = [
            await client("mosquitto_sub", plain, "-C", "2"),
            await client("mosquitto_sub", over_tls, "--cafile", authority, "--insecure", "-C", "2"),
        ]
        for each in subscribers:
            assert each.stdout is not None
            async with asyncio.timeout(harness.PATIENCE):
                assert await each.stdout.readline() == b"kept\n"
        publisher = await client("mosquitto_pub", over_tls, "--cafile", authority, "--insecure", "-m", "news", "-q", "1")
        assert await said(publisher) == ""
        assert [await said(each) for each in subscribers] == ["news", "news"]
        await until(lambda: up.backends("mqtt") == [], what="asleep")


async def test_a_subscriber_keeps_it_awake_as_long_as_it_is_said(tmp_path: Path) -> None:
    number = free_port()
    async with running_up(tmp_path, fleet(broker(tmp_path, {"port": number, "idle": 2}))) as up:
        subscriber = await client("mosquitto_sub", number, "-k", "60")
        await until(lambda: up.backends("mqtt") != [], what="awake")
        await until(lambda: up.backends("mqtt") == [], what="asleep, although a subscriber is connected")
        subscriber.terminate()
        await subscriber.wait()


async def test_mqtt_over_websocket_at_the_http_port(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(broker(tmp_path, websockets=True, hosts=[NAME]))) as up:
        assert up.backends("mqtt") == []
        async with (
            asyncio.timeout(harness.PATIENCE),
            connect(
                f"ws://{NAME}/mqtt", host=harness.address, port=up.port, subprotocols=[Subprotocol("mqtt")], proxy=None
            ) as socket,
        ):
            assert socket.subprotocol == "mqtt"
            await socket.send(CONNECT)
            assert await socket.recv() == CONNACK
            await socket.send(PINGREQ)
            assert await socket.recv() == PINGRESP
        await until(lambda: up.backends("mqtt") == [], what="asleep")
