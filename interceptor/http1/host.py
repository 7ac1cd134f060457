"""The proxy as a client connection sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from fleet.runtime.protocol_mismatch import ProtocolMismatches
from interceptor.core.deadlines import Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Request
from interceptor.core.sides import Client, Downstream, RequestEvents
from interceptor.transport.hangups import HangupWatch
from interceptor.transport.tcp import Outbox
from interceptor.trust import TrustedProxies

__all__ = ["ClientHost"]


class ClientHost(Protocol):
    """Shared by all client connections."""

    clock: Callable[[], float]
    """Monotonic time in seconds."""
    deadlines: Deadlines
    hangups: HangupWatch
    outbox: Outbox
    head_timeout: float
    keep_alive_timeout: float
    sheds: bool
    """Whether connections are closed after their response: the proxy drains, or is at its connection limit."""
    early: EarlyBytes
    proxies: TrustedProxies
    """Peers whose forwarding fields are kept."""

    @property
    def open_exchange(self) -> Callable[[Downstream, Request], RequestEvents]: ...
    def client_opened(self, client: Client) -> None: ...
    def client_closed(self, client: Client) -> None: ...

    mismatches: ProtocolMismatches
    """Gets the first bytes of clients whose head was malformed."""

    on_http2: Callable[[asyncio.Transport, bytes, str], None] | None
    """Receives a connection whose first bytes are the preface of HTTP/2, with all bytes that were read, and the client's address
    if a load balancer sent it, else "". None where HTTP/2 is not supported."""

    def refused(self, error: ExchangeError) -> None:
        """A request was refused before it became an exchange."""
