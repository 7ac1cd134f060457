"""The address of the client at the other end of a connection."""

from __future__ import annotations

import asyncio

from interceptor.trust import plain_address

__all__ = ["client_address"]


def client_address(transport: asyncio.BaseTransport, source: str = "") -> str:
    """The address of a client in its usual form: `source`, if a load balancer has sent one, otherwise that of the connection's
    peer; "unknown" where there is none, as for a Unix socket."""
    peer = (source,) if source else transport.get_extra_info("peername")
    return plain_address(peer[0]) if peer else "unknown"
