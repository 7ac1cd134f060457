"""An interceptor that is killed with connections and flows at its ports: these end, and nothing else does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from grpc.aio import AioRpcError

from tests.support.ports import free_port
from tests.system import harness
from tests.system.harness import fleet, running_up, until
from tests.system.test_ports_udp import echo_app
from tests.wire.flow_rig import UdpClient

ECHO = (
    "import asyncio, os\n"
    "async def serve(reader, writer):\n"
    "    writer.write(b'%d\\n' % os.getpid())\n"
    "    while data := await reader.read(65536):\n"
    "        writer.write(data)\n"
    "    writer.close()\n"
    "async def main():\n"
    "    server = await asyncio.start_server(serve, '127.0.0.1', int(os.environ['PORT']))\n"
    "    await server.serve_forever()\n"
    "asyncio.run(main())\n"
)
CONNECTIONS = 20


class Peer:
    """A connection to the TCP app."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: int) -> None:
        self.reader, self.writer, self.pid = reader, writer, pid

    @classmethod
    async def connect(cls, host: str, port: int) -> Peer:
        """Until it is served: a port is closed for a moment where its interceptor has died."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection(host, port)
                    if line := await reader.readline():
                        return cls(reader, writer, int(line))
                await asyncio.sleep(0)

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(60):
            return await self.reader.readexactly(len(data))

    async def ended(self) -> bool:
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read() == b""
        return True


async def test_an_interceptor_that_is_killed_ends_its_own_connections_and_nothing_else(tmp_path: Path) -> None:
    tcp, udp = free_port(), free_port()
    lines = {
        "name": "lines", "command": [sys.executable, "-I", "-S", "-c", ECHO], "cooldown": 60, "target": 100, "max": 1,
        "ports": [{"port": tcp}],
    }  # fmt: skip
    names = echo_app("names", udp) | {"cooldown": 60, "max": 1}
    async with running_up(tmp_path, {**fleet(lines, names), "interceptors": 2}, "--processes") as up:
        peers = [await Peer.connect(harness.address, tcp) for _ in range(CONNECTIONS)]
        flow = UdpClient(harness.address, udp)
        pid, (at,) = peers[0].pid, up.backends("lines")
        answered = (await flow.insist(b"first")).split()[0]
        direct = await Peer.connect("127.0.0.1", at)
        await up.until_value("lines", float(CONNECTIONS))

        victims = {each["name"]: int(each["pid"]) for each in up.components("interceptor")}
        os.kill(victims["interceptor-2"], signal.SIGKILL)
        await until(lambda: victims["interceptor-2"] not in [int(each["pid"]) for each in up.components("interceptor")])
        assert [await peer.ask(b"hello") for peer in peers] == [b"hello"] * CONNECTIONS, "only the first listens at ports"

        os.kill(victims["interceptor-1"], signal.SIGKILL)
        assert all(await asyncio.gather(*(peer.ended() for peer in peers)))
        assert await direct.ask(b"still here") == b"still here"

        again = [await Peer.connect(harness.address, tcp) for _ in range(3)]
        assert {peer.pid for peer in again} == {pid}, "the app was not touched"
        assert [await peer.ask(b"hello") for peer in again] == [b"hello"] * 3
        assert (await flow.insist(b"again")).split()[0] == answered
        await until(lambda: len(up.members()) == 2)
        while True:  # until the new one is heard the scaler knows of none, which is an error, and not zero
            with contextlib.suppress(AioRpcError):
                await up.until_value("lines", 3.0)
                break
        for peer in (*peers, *again, direct):
            peer.writer.close()
        await up.until_value("lines", 0.0)
        flow.close()
