"""A client's connection of bytes, as exchanges and tunnels see it: without messages, and at times without a transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from interceptor.core.messages import Fields, Response
from interceptor.http1.closing import ClosingClient
from interceptor.transport.relay import Relayed
from interceptor.transport.tcp import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from interceptor.core.sides import Upstream
    from interceptor.exchange.stream_tunnel import StreamTunnel
    from interceptor.tcp.site import StreamHost

__all__ = ["StreamDownstream"]


class StreamDownstream(ClosingClient):
    """What a downstream has for messages: a connection of bytes has none, and is never idle."""

    __slots__ = ()

    _host: StreamHost

    @property
    def idle(self) -> bool:
        return False

    def close_if_idle(self) -> bool:
        return False

    def on_hangup(self, *, gone: bool) -> None:
        """As `HangupWatch` has it."""
        raise NotImplementedError

    def send_interim(self, head: Response) -> None:
        """There are no messages."""

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool, trailers: Fields = ()) -> None:
        raise NotImplementedError

    def send_trailers(self, trailers: Fields) -> None:
        raise NotImplementedError

    def exchange_done(self, now: float) -> None:
        raise NotImplementedError

    # -- RelayedClient --------------------------------------------------------------------------------------------

    def relay_with(self, connection: Upstream, tunnel: StreamTunnel) -> bool:
        if self._paused:  # meanwhile it is watched for a disconnect
            return False
        self._host.hangups.forget(self)  # by its number, which another socket gets
        return isinstance(connection, Connection) and self._host.relay.take(self, connection, tunnel)

    def end_relay(self) -> None:
        transport: object = self._transport
        if isinstance(transport, Relayed):
            transport.leave()

    def call_soon(self, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(callback)
