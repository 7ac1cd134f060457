"""Whether the interceptors serve a routing table, and the ports that they cannot serve, asked of each of them. An ordinary client
of their RPC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from grpc import aio

from fleet.routing.port_index import PortKey
from protos.weir.interceptor.v1 import routing_pb2 as pb
from protos.weir.interceptor.v1.routing_pb2_grpc import RoutingServiceStub
from weir.dial import PLAIN

__all__ = ["served_by_all", "unbound_ports"]

CALL_TIMEOUT = 1.0
"""Seconds for one interceptor to answer. The caller asks again."""


async def served_by_all(addresses: Sequence[str], version: str) -> bool:
    """Whether every interceptor serves this version of the table."""
    found = await asyncio.gather(*(_version(address) for address in addresses))
    return bool(found) and all(one == version for one in found)


async def unbound_ports(addresses: Sequence[str]) -> Mapping[PortKey, str]:
    """The ports that an interceptor should serve and does not, and why. Those of one that does not tell are missing."""
    found: dict[PortKey, str] = {}
    for ports in await asyncio.gather(*(_unbound(address) for address in addresses)):
        found |= ports
    return found


async def _unbound(address: str) -> Mapping[PortKey, str]:
    async with PLAIN.open(address) as channel:
        try:
            answer = await RoutingServiceStub(channel).SyncRoutingTable(pb.SyncRoutingTableRequest(), timeout=CALL_TIMEOUT)
        except aio.AioRpcError:
            return {}
    return {PortKey(port.protocol, port.port): port.reason for port in answer.unbound_ports}


async def _version(address: str) -> str:
    """The version that one serves; "" while it does not tell."""
    async with PLAIN.open(address) as channel:
        try:
            stub = RoutingServiceStub(channel)
            answer = await stub.GetRoutingTable(pb.GetRoutingTableRequest(version_only=True), timeout=CALL_TIMEOUT)
        except aio.AioRpcError:
            return ""
    return answer.version
