"""Whether the interceptors serve a routing table, asked of each of them. An ordinary client of their RPC."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from grpc import aio

from protos.weir.interceptor.v1 import routing_pb2 as pb
from protos.weir.interceptor.v1.routing_pb2_grpc import RoutingServiceStub
from weir.dial import PLAIN

__all__ = ["served_by_all"]

CALL_TIMEOUT = 1.0
"""Seconds for one interceptor to answer. The caller asks again."""


async def served_by_all(addresses: Sequence[str], version: str) -> bool:
    """Whether every interceptor serves this version of the table."""
    found = await asyncio.gather(*(_version(address) for address in addresses))
    return bool(found) and all(one == version for one in found)


async def _version(address: str) -> str:
    """The version that one serves; "" while it does not tell."""
    async with PLAIN.open(address) as channel:
        try:
            stub = RoutingServiceStub(channel)
            answer = await stub.GetRoutingTable(pb.GetRoutingTableRequest(version_only=True), timeout=CALL_TIMEOUT)
        except aio.AioRpcError:
            return ""
    return answer.version
