"""Asks every interceptor which table it serves, until all serve the newest. One task per interceptor.

Only exchanges messages; controller.propagation draws the conclusions. An interceptor that does not answer does not delay the
others.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Callable, Iterable

import grpc

from controller.propagation import Interceptor, Propagation
from fleet.defaults import MAX_MEMBERS
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.pauses import Pauses
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.terminal import one_line
from protos.weir.interceptor.v1 import routing_pb2, routing_pb2_grpc

__all__ = ["Verifier"]

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Verifier:
    """Reports to `propagation` what the interceptors serve. `on_answer` is called after every answer."""

    def __init__(
        self,
        propagation: Propagation,
        channels: ChannelFactory,
        *,
        timeout: float,
        recheck: float,
        on_answer: Callable[[], None],
    ) -> None:
        """In seconds: `timeout` of one answer; `recheck`, the time after which an interceptor with the newest table is asked
        again."""
        self._propagation = propagation
        self._channels = channels
        self._timeout = timeout
        self._recheck = recheck
        self._on_answer = on_answer
        self._askers: dict[str, _Asker] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._round = itertools.count(1)
        self._origin = uuid.uuid4().hex[:12]
        self._unsubscribe = channels.subscribe(self._on_certificates)

    def members(self, interceptors: Iterable[Interceptor]) -> None:
        """Set the interceptors to ask."""
        wanted = {one.name: one for one in itertools.islice(interceptors, MAX_MEMBERS) if one.address}
        for name in [
            name
            for name, asker in self._askers.items()
            if name not in wanted or wanted[name].address != asker.interceptor.address
        ]:
            self._leave(self._askers.pop(name))
        for name, interceptor in wanted.items():
            if name not in self._askers:
                self._askers[name] = asker = _Asker(interceptor)
                asker.task = asyncio.create_task(self._follow(asker), name=f"verify:{name}")

    def wake(self) -> None:
        """There is a new table to ask about."""
        for asker in self._askers.values():
            asker.awake.set()

    async def close(self) -> None:
        self._unsubscribe()
        tasks = [asker.task for asker in self._askers.values()]
        self._askers.clear()
        await cancel_and_wait(*tasks, *self._leaving)

    async def _follow(self, asker: _Asker) -> None:
        pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        channel = self._channels.open(asker.interceptor.address)
        try:
            while True:
                asker.awake.clear()
                fine = await self._ask(asker.interceptor.name, routing_pb2_grpc.RoutingServiceStub(channel))
                if fine:
                    pauses.reset()
                await asker.sleep(self._recheck if fine else pauses.next(), alert=fine)
        finally:
            await channel.close()

    async def _ask(self, name: str, stub: routing_pb2_grpc.RoutingServiceAsyncStub) -> bool:
        """Whether it serves the table that was the newest when it was asked."""
        newest = self._propagation.version
        if not newest:
            return True  # there is no table yet
        sync_id = f"{self._origin}-{next(self._round)}"
        try:
            answer = await stub.SyncRoutingTable(routing_pb2.SyncRoutingTableRequest(sync_id=sync_id), timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            return self._failed(name, _why(error, self._timeout))
        if answer.sync_id != sync_id:
            return self._failed(name, "answers another question")
        self._propagation.unbound(name, {(port.protocol, port.port): one_line(port.reason) for port in answer.unbound_ports})
        fresh = self._propagation.answered(name, answer.version, asked=newest)
        if answer.error and not fresh:
            return self._failed(name, answer.error)
        self._on_answer()
        return fresh

    def _failed(self, name: str, why: str) -> bool:
        self._propagation.failed(name, one_line(" ".join(why.split()))[:200])
        self._on_answer()
        return False

    def _leave(self, asker: _Asker) -> None:
        if asker.task is not None:
            asker.task.cancel()
            self._leaving.add(asker.task)
            asker.task.add_done_callback(self._leaving.discard)

    def _on_certificates(self) -> None:
        """Channels keep the certificates with which they were opened."""
        interceptors = [asker.interceptor for asker in self._askers.values()]
        self.members(())
        self.members(interceptors)


class _Asker:
    """One interceptor, and the task that asks it."""

    def __init__(self, interceptor: Interceptor) -> None:
        self.interceptor = interceptor
        self.awake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def sleep(self, seconds: float, *, alert: bool) -> None:
        """Wait for some seconds. If `alert`, a new table ends the wait; after a failure it does not, because a new table does
        not fix the failure."""
        if not alert:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self.awake.wait()
        except TimeoutError:
            return


def _why(error: grpc.aio.AioRpcError, timeout: float) -> str:
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer in {timeout:g} s"
    return f"{error.code().name}: {error.details() or 'no reason given'}"
