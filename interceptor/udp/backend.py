"""Whether a backend that has refused datagrams takes them again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from interceptor.transport.datagrams import connected

if TYPE_CHECKING:
    from interceptor.core.messages import Request
    from interceptor.core.sides import Place, Upstream

__all__ = ["DatagramDialer"]

REFUSED_WITHIN_SECONDS: Final = 0.2
"""A refusal (ICMP) comes within this time, on any network that backends are in. After it, silence is taken for consent."""
REFUSAL_LOOKS: Final = 4
"""How often a refusal is looked for within that time."""


class _Nothing:
    """There is no connection to keep."""

    def close(self) -> None:
        """Nothing is open."""


class DatagramDialer:
    """Its probes are datagrams without content: any client can send such, and nothing else is known that every server takes."""

    async def connect(self, endpoint: Place) -> Upstream:
        """Raises OSError where nobody is. Used for probes alone: flows have sockets of their own at once."""
        own = connected(endpoint.backend.host, endpoint.backend.port)
        try:
            own.send(b"")
            for _ in range(REFUSAL_LOOKS):
                await asyncio.sleep(REFUSED_WITHIN_SECONDS / REFUSAL_LOOKS)
                try:
                    own.recv(1)
                except BlockingIOError:
                    continue
                break  # it has even answered
        finally:
            own.close()
        return cast("Upstream", _Nothing())

    def probe(self, endpoint: Place, path: str) -> Request:
        """Never called: ports have no readiness path."""
        raise NotImplementedError
