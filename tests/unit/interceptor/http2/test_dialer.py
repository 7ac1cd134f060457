"""Connections that several requests wait for while they are being opened."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from interceptor.http2.dialer import Http2Dialer
from interceptor.transport.tcp import Outbox
from tests.support.waiting import turns


class _Connection:
    """Of a backend that allows some streams, and has said so."""

    def __init__(self, available: int) -> None:
        self.session = SimpleNamespace(available=available)
        self.unused = False

    async def settled(self) -> None:
        """It is."""

    def place(self) -> Any:
        self.session.available -= 1
        return self

    def end_if_unused(self) -> None:
        self.unused = True


class _Dialer(Http2Dialer):
    def __init__(self) -> None:
        super().__init__(Outbox(), lambda: 0.0)
        self.opened: list[asyncio.Future[_Connection]] = []

    async def _open(self, endpoint: Any) -> Any:
        future: asyncio.Future[_Connection] = asyncio.get_running_loop().create_future()
        self.opened.append(future)
        return await future


class _Place:
    address = "127.0.0.1:1"


async def started(dialer: _Dialer, endpoint: Any, count: int) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(dialer.connect(endpoint)) for _ in range(count)]
    await turns()
    return tasks


async def test_all_waiting_requests_get_places_of_one_connection_as_far_as_it_has_them() -> None:
    dialer, endpoint = _Dialer(), _Place()
    tasks = await started(dialer, endpoint, 5)
    other = await started(dialer, _Place(), 1)
    assert len(dialer.opened) == 2
    first, second = _Connection(3), _Connection(3)
    dialer.opened[0].set_result(first)
    await turns()
    assert len(dialer.opened) == 3
    dialer.opened[2].set_result(second)
    found = await asyncio.gather(*tasks)
    assert [found.count(first), found.count(second)] == [3, 2]
    dialer.opened[1].set_result(first)
    assert await other[0] is first
    late = await started(dialer, endpoint, 1)  # the dialer remembers nothing
    assert len(dialer.opened) == 4
    late[0].cancel()
    await turns()


async def test_all_waiting_requests_fail_with_the_dial() -> None:
    dialer, endpoint = _Dialer(), _Place()
    tasks = await started(dialer, endpoint, 3)
    dialer.opened[0].set_exception(ConnectionRefusedError())
    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [ConnectionRefusedError] * 3


async def test_a_dial_is_cancelled_with_its_last_waiting_request() -> None:
    dialer, endpoint = _Dialer(), _Place()
    tasks = await started(dialer, endpoint, 2)
    tasks[0].cancel()
    await turns()
    assert not dialer.opened[0].cancelled()
    tasks[1].cancel()
    await turns()
    assert dialer.opened[0].cancelled()


async def test_a_connection_that_comes_as_the_last_goes_is_closed() -> None:
    dialer, endpoint = _Dialer(), _Place()
    (task,) = await started(dialer, endpoint, 1)
    connection = _Connection(3)
    dialer.opened[0].set_result(connection)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connection.unused
