"""The end of a proxy's work, in order: requests finish, tunnels are wound down, and what still waits is told to go elsewhere.

Begins when nothing new is accepted any more. Decides when; what ending means to a connection is the connection's business.
"""

from __future__ import annotations

import asyncio
import logging

from interceptor.proxy import Proxy

__all__ = ["finish"]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.02
IDLE_GRACE_SECONDS = 0.5
"""For how long after the drain began idle connections are kept: a client that is active sends its next request within it, and is
told with the answer that this was the last one. Closed under its hands, that request would be lost."""
TUNNEL_GRACE_SECONDS = 5.0
"""For a tunnel to end once it is asked to; half of the drain's time where that is shorter."""
TUNNEL_SHARE = 0.5
"""Of the time that is left: the rest is for closing them politely, before what is open is cut. Time limits are a few tenths of a
second late at best."""
LAST_WORDS_SECONDS = 0.1
"""For answers to those that were turned away to go out, before their connections are cut."""


async def finish(proxy: Proxy, *, began: float, seconds: float) -> None:
    """Let what is open end within so many seconds. `began` is when the drain did; what is left is for the caller to cut."""
    until = proxy.clock() + seconds
    winding_down = until - min(TUNNEL_GRACE_SECONDS, seconds / 2)
    while proxy.clients and (now := proxy.clock()) < until:
        if now >= began + IDLE_GRACE_SECONDS:
            proxy.close_idle(now)
        if now >= winding_down:  # those that begin later too: a request may still turn into one
            for client in list(proxy.clients):
                client.wind_down(now, (until - now) * TUNNEL_SHARE)
        await asyncio.sleep(LOOK_SECONDS)
    if proxy.clients:
        logger.warning("drain time is over: %d connections are cut", len(proxy.clients))
    if proxy.turn_away_held():
        await asyncio.sleep(LAST_WORDS_SECONDS)
