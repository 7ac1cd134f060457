"""Reads the queue sizes of interceptors over QueueService and adds them up.

An ordinary client: it knows addresses, not processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grpc import aio

from fleet.runtime.address import AddressError
from protos.weir.interceptor.v1 import queue_pb2 as pb
from protos.weir.interceptor.v1.queue_pb2_grpc import QueueServiceStub
from weir.dial import PLAIN, Dial

if TYPE_CHECKING:
    from protos.weir.interceptor.v1.queue_pb2_grpc import QueueServiceAsyncStub

__all__ = ["AppDemand", "QueueReader", "Queues", "rates"]

CALL_TIMEOUT = 1.0
"""Seconds for one interceptor to answer in repeated readings; one that hangs must not delay the others."""


@dataclass(slots=True)
class AppDemand:
    """The demand of one app, summed over interceptors."""

    app: str
    held: int = 0
    in_flight: int = 0
    connections: int = 0
    requests_total: int = 0
    busy: int = 0
    """Backends that keep it awake although they have answered."""
    busy_by_call: int = 0
    """Replicas that keep it awake by a call, of which every interceptor tells."""
    dropped_total: int = 0
    """Datagrams of UDP ports."""

    def add(self, size: pb.QueueSize) -> None:
        self.held += size.held
        self.in_flight += size.in_flight
        self.connections += size.connections
        self.requests_total += size.requests_total
        self.busy += size.busy
        self.busy_by_call = max(self.busy_by_call, size.busy_by_call)
        self.dropped_total += size.dropped_total


@dataclass(slots=True)
class Queues:
    """The answers of the interceptors, and the errors of those that did not answer."""

    apps: dict[str, AppDemand] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    """Errors by address."""


class QueueReader:
    """Keeps a connection to each interceptor that it has asked."""

    def __init__(self, dial: Dial = PLAIN, *, timeout: float = CALL_TIMEOUT) -> None:
        self._dial = dial
        self._timeout = timeout
        self._channels: dict[str, aio.Channel] = {}

    async def read(self, addresses: Iterable[str]) -> Queues:
        """Ask all interceptors concurrently."""
        wanted = list(dict.fromkeys(addresses))
        await self._forget(set(self._channels).difference(wanted))
        queues = Queues()
        await asyncio.gather(*(self._read_one(address, queues) for address in wanted))
        return queues

    async def close(self) -> None:
        await self._forget(list(self._channels))

    async def _read_one(self, address: str, queues: Queues) -> None:
        try:
            answer = await self._stub(address).GetQueueSizes(pb.GetQueueSizesRequest(), timeout=self._timeout)
        except aio.AioRpcError as error:
            queues.problems[address] = self._dial.problem(error)
            return
        except AddressError as error:
            queues.problems[address] = str(error).removeprefix(f"{address!r} ")
            return
        queues.members.append(answer.member)
        for size in answer.apps:
            queues.apps.setdefault(size.app, AppDemand(size.app)).add(size)

    def _stub(self, address: str) -> QueueServiceAsyncStub:
        if address not in self._channels:
            self._channels[address] = self._dial.open(address)
        return QueueServiceStub(self._channels[address])

    async def _forget(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            await self._channels.pop(address).close()


def rates(before: Mapping[str, AppDemand], after: Mapping[str, AppDemand], seconds: float) -> dict[str, float]:
    """Requests per second of each app between two readings. A counter that decreased was restarted at zero."""
    return {app: _rate(before.get(app), demand, seconds) for app, demand in after.items()}


def _rate(before: AppDemand | None, after: AppDemand, seconds: float) -> float:
    done = after.requests_total - (before.requests_total if before else 0)
    return max(0, done) / seconds if seconds > 0 else 0.0
