"""How many requests an application has now: every interceptor is asked. A sum without one of them would be wrong, so there is
none then, and a reason."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable
from time import time

import grpc
import msgspec

from controller.interceptors import InterceptorSource
from controller.propagation import Interceptor
from fleet.defaults import MAX_MEMBERS
from fleet.discovery.busy import BusySource
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.terminal import one_line
from protos.weir.interceptor.v1 import queue_pb2, queue_pb2_grpc

__all__ = ["Demand", "Demands"]

ANSWER_SECONDS = 2.0
"""Seconds for all interceptors to answer. They answer from memory."""


class Demand(msgspec.Struct, frozen=True):
    """`requests` is None when it is not known, for the reason in `unknown`."""

    requests: int | None = None
    unknown: str | None = None


class Demands:
    """Asks interceptors, whether this controller leads or not. Channels stay open until their interceptors or certificates
    change."""

    def __init__(self, interceptors: InterceptorSource, channels: ChannelFactory, leases: BusySource) -> None:
        """`leases` are those that pods have asked for by a call. The others are in what interceptors tell."""
        self._interceptors = interceptors
        self._leases = leases
        self._factory = channels
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unsubscribe = channels.subscribe(lambda: self._keep(()))

    async def of(self, app: str) -> Demand:
        """The demand of "namespace/name"."""
        known = self._interceptors.current
        if known is None:
            return Demand(unknown="the interceptors are not known yet")
        # One that is not ready may still carry requests. One without an address has never carried any.
        asked = tuple(itertools.islice((one for one in known if one.address), MAX_MEMBERS))
        if not asked:
            return Demand(unknown="there is no interceptor")
        self._keep(one.address for one in asked)
        found = await asyncio.gather(*(self._ask(one, app) for one in asked))
        silent = [why for why in found if isinstance(why, str)]
        if silent:
            return Demand(unknown=f"{len(silent)} of {len(asked)} interceptors do not tell: {silent[0]}")
        now = time()
        called = sum(until > now for until in self._leases.current.get(app, {}).values())
        return Demand(requests=sum(one for one in found if isinstance(one, int)) + called)

    async def close(self) -> None:
        self._unsubscribe()
        self._keep(())
        if self._closing:
            await asyncio.wait(tuple(self._closing))

    async def _ask(self, interceptor: Interceptor, app: str) -> int | str:
        """What it holds and carries, or why that is not known."""
        address = interceptor.address
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self._factory.open(address)
        request = queue_pb2.GetQueueSizesRequest(apps=[app])
        try:
            answer = await queue_pb2_grpc.QueueServiceStub(channel).GetQueueSizes(request, timeout=ANSWER_SECONDS)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            why = error.details() if isinstance(error, grpc.aio.AioRpcError) else "its certificates have changed"
            return one_line(f"{interceptor.name}: {why or 'no reason given'}")[:200]
        return sum(size.held + size.in_flight + size.busy for size in answer.apps if size.app == app)

    def _keep(self, addresses: Iterable[str]) -> None:
        """Close the channels to all others."""
        for address in self._channels.keys() - set(addresses):
            task = asyncio.ensure_future(_closed(self._channels.pop(address)))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _closed(channel: grpc.aio.Channel) -> None:
    with contextlib.suppress(grpc.aio.UsageError):
        await channel.close()
