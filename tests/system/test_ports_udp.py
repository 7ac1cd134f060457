"""A real DNS server, and one that echoes, behind UDP ports of `weir up`: asleep until a datagram comes, and asleep again."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.message
import pytest

from tests.support.ports import free_port
from tests.system import harness
from tests.system.harness import fleet, running_up, until
from tests.wire.flow_rig import UdpClient

DNSMASQ = shutil.which("dnsmasq", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
FLAGS = pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
ECHO = (
    "import os, socket\n"
    "own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "own.bind(('127.0.0.1', int(os.environ['PORT'])))\n"
    "while True:\n"
    "    data, client = own.recvfrom(65536)\n"
    "    own.sendto(b'%d ' % os.getpid() + data, client)\n"
)


def app(name: str, number: int, command: Any, **fields: Any) -> dict[str, Any]:
    port = {"port": number, "protocol": "UDP", **fields.pop("udp", {})}
    return {
        "name": name, "command": command, "cooldown": 1, "activity_period": 1, "drain": 1, "ports": [port], **fields
    }  # fmt: skip


def echo_app(name: str, number: int, **fields: Any) -> dict[str, Any]:
    return app(name, number, [sys.executable, "-I", "-S", "-c", ECHO], **fields)


async def dig(port: int, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "dig", f"@{harness.address}", "-p", str(port), "+tries=1", "+timeout=60", *words, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        found, _ = await process.communicate()
    return found.decode().strip()


@FLAGS
@pytest.mark.skipif(DNSMASQ is None or shutil.which("dig") is None, reason="needs dnsmasq and dig")
async def test_the_first_query_wakes_a_name_server_and_is_answered(tmp_path: Path, flags: tuple[str, ...]) -> None:
    number = free_port()
    command = (
        f"exec {DNSMASQ} --keep-in-foreground --conf-file=/dev/null --port=$PORT --listen-address=127.0.0.1 --bind-interfaces"
        " --no-resolv --no-hosts --address=/a.test/192.0.2.7 --pid-file= --log-facility=- --user=$(id -un)"
    )
    async with running_up(tmp_path, fleet(app("dns", number, command, udp={"replies": 1})), *flags) as up:
        assert up.backends("dns") == []
        assert await dig(number, "a.test", "+short") == "192.0.2.7"
        assert await dig(number, "b.a.test", "+short") == "192.0.2.7"
        question = dns.message.make_query("a.test", "A")
        answer = await dns.asyncquery.udp(question, harness.address, timeout=60, port=number)
        assert answer.answer[0][0].to_text() == "192.0.2.7"
        await until(lambda: up.backends("dns") == [], what="asleep, as its flows ended with their answers")
        assert await dig(number, "a.test", "+short") == "192.0.2.7"


@FLAGS
async def test_many_clients_wake_one_process_and_lose_nothing(tmp_path: Path, flags: tuple[str, ...]) -> None:
    number, other = free_port(), free_port()
    apps = fleet(echo_app("game", number, udp={"idle": 1.0}, max=1), echo_app("other", other, udp={"idle": 600.0}, max=1))
    async with running_up(tmp_path, apps, *flags) as up:
        clients = [UdpClient(harness.address, number) for _ in range(50)]
        for client in clients:
            client.send(b"1", b"2", b"3")
        found = [await client.receive(3) for client in clients]
        assert {tuple(data.split()[1] for data in one) for one in found} == {(b"1", b"2", b"3")}
        assert len({data.split()[0] for one in found for data in one}) == 1
        assert up.backends("other") == []
        await until(lambda: up.backends("game") == [], what="asleep, as its flows are idle")
        assert (await clients[0].ask(b"4")).endswith(b" 4")
        for client in clients:
            client.close()


async def test_a_process_that_is_replaced_hands_its_flows_over(tmp_path: Path) -> None:
    number = free_port()
    async with running_up(tmp_path, fleet(echo_app("game", number, min=1, max=1))) as up:
        await until(lambda: up.backends("game"))
        client = UdpClient(harness.address, number)
        first = (await client.ask(b"1")).split()[0]
        up.write(fleet(echo_app("game", number, min=1, max=1, env={"A": "2"})))

        async with asyncio.timeout(harness.PATIENCE):
            while (await client.insist(b"2")).split()[0] == first:  # noqa: ASYNC110 -- nothing says when it is another one
                await asyncio.sleep(0.05)
        client.close()


async def test_an_app_that_takes_no_datagrams_is_not_ready(tmp_path: Path) -> None:
    number = free_port()
    deaf = app("deaf", number, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"], readiness={"timeout": 1.0})
    async with running_up(tmp_path, fleet(deaf)) as up:
        client = UdpClient(harness.address, number)
        client.send(b"x")
        await up.logs("nothing takes datagrams at 127.0.0.1:")
        client.close()
