"""The harness itself: a port that is kept is nobody's but its server's."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fleet.runtime.listen import bound
from tests.support.ports import KeptPort


async def test_a_kept_port_is_listened_on_again_and_again_and_refuses_in_between() -> None:
    with KeptPort() as port:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port.number)
            listener = bound("127.0.0.1", port.number, "requests")
            server = await asyncio.start_server(lambda _, writer: writer.close(), sock=listener)
            reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
            assert await reader.read() == b""
            writer.close()
            server.close()
            await server.wait_closed()


def test_a_port_is_not_shared_with_a_listener_that_does_not_share() -> None:
    with KeptPort() as port, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))
