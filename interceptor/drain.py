"""Drains a proxy, in order: requests finish, tunnels are wound down, idle flows are ended, and
requests that still wait are answered with an error.

Called after the listener has been closed. Decides when to end connections; how they end is decided in their own modules.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from interceptor.proxy import Proxy

__all__ = ["finish"]

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.02
IDLE_GRACE_SECONDS: Final = 0.5
"""How long idle connections are kept after the drain has begun. An active client sends its next request within this time, and its
response says "Connection: close". If its connection were closed at once, a request on its way would fail."""
TUNNEL_GRACE_SECONDS: Final = 5.0
"""Time for tunnels to end after they were asked to; half of the drain time if that is shorter."""
TUNNEL_SHARE: Final = 0.5
"""Share of the remaining time in which tunnels must end; the rest is for closing their connections in order. Not more, because
deadlines may be some tenths of a second late."""
IDLE_FLOW_SECONDS: Final = 2.0
"""A flow of a UDP port without a datagram for this long is ended: whether it has ended nobody says, and another interceptor can
begin it anew."""
FLOW_LOOK_SECONDS: Final = 0.5
REPLY_SECONDS: Final = 0.1
"""Time for error responses to held requests to be sent, before connections are reset."""


async def finish(proxy: Proxy, *, began: float, seconds: float) -> None:
    """Let open exchanges end within `seconds`. `began` is when the drain began. The caller resets the remaining connections."""
    until = proxy.clock() + seconds
    winding_down = until - min(TUNNEL_GRACE_SECONDS, seconds / 2)
    next_look = 0.0
    while (proxy.clients or len(proxy.flows)) and (now := proxy.clock()) < until:
        if now >= next_look:
            next_look = now + FLOW_LOOK_SECONDS
            proxy.flows.end_idle(now, IDLE_FLOW_SECONDS)
        if now >= began + IDLE_GRACE_SECONDS:
            proxy.close_idle(now)
        if now >= winding_down:  # each time, because a request may still become a tunnel
            for client in list(proxy.clients):
                client.wind_down(now, (until - now) * TUNNEL_SHARE)
        await asyncio.sleep(LOOK_SECONDS)
    if proxy.clients:
        logger.warning("drain time is over: %d connections are cut", len(proxy.clients))
    if len(proxy.flows):
        logger.warning("drain time is over: %d flows are ended", len(proxy.flows))
    if proxy.reject_held():
        await asyncio.sleep(REPLY_SECONDS)
