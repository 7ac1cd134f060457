"""What is written at the end of a turn of the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interceptor.transport.tcp import Connection, Outbox


class Written(Connection):
    """A connection that notes what it sends, or fails."""

    def __init__(self, outbox: Outbox, sent: list[bytes], *, fails: bool = False) -> None:
        super().__init__(outbox, deadline=0.0)
        self._sent, self._fails = sent, fails

    def _send(self, data: bytes | memoryview) -> None:
        if self._fails:
            raise RuntimeError("a fault of this one")
        self._sent.append(bytes(data))

    def write_output(self) -> None:
        self._send(b"output")


@pytest.mark.parametrize("faulty", [0, 1, 2])
@pytest.mark.parametrize("kind", ["connections", "sessions", "both"])
async def test_a_fault_of_one_costs_the_others_nothing(kind: str, faulty: int) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    outbox, sent = Outbox(), list[bytes]()
    connections = [Written(outbox, sent, fails=at == faulty) for at in range(3)]
    for at, each in enumerate(connections):
        if kind == "connections" or (kind == "both" and at != 1):
            each.write(b"output")
        else:
            if not outbox.due:
                outbox.schedule()
            outbox.sessions.append(each)
    assert sent == [], "not before the turn ends"
    for _ in range(3):
        await asyncio.sleep(0)
    assert sent == [b"output"] * 2
    assert len(faults) == 1
    assert not outbox.due
    assert not outbox.waiting
    assert not outbox.sessions


async def test_what_is_written_meanwhile_is_written_with_the_next_turn() -> None:
    outbox, sent = Outbox(), list[bytes]()
    first = Written(outbox, sent)
    first.write(b"a")
    first.write(b"b")
    await asyncio.sleep(0)
    assert sent == [b"ab"]
    first.write(b"c")
    await asyncio.sleep(0)
    assert sent == [b"ab", b"c"]
