"""What a connection of a client needs of the proxy, and a stream of its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from interceptor.core.deadlines import Deadlines
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Request
from interceptor.core.sides import Client, Downstream, RequestEvents
from interceptor.http2.core.session import Session
from interceptor.transport.tcp import Outbox
from interceptor.trust import TrustedProxies

__all__ = ["ClientHost", "StreamHost"]


class ClientHost(Protocol):
    """What a connection needs of the proxy."""

    clock: Callable[[], float]
    deadlines: Deadlines
    outbox: Outbox
    head_timeout: float
    keep_alive_timeout: float
    sheds: bool
    proxies: TrustedProxies

    @property
    def open_exchange(self) -> Callable[[Downstream, Request], RequestEvents]: ...
    def client_opened(self, client: Client) -> None: ...
    def client_closed(self, client: Client) -> None: ...
    def refused(self, error: ExchangeError) -> None: ...


class StreamHost(Protocol):
    """What a stream needs of its connection."""

    session: Session
    peer: bytes
    trusted: bool
    deadlines: Deadlines
    clock: Callable[[], float]
    deadline: float
    """When it checks the deadlines of its streams."""
    linger: float
    """Seconds for a client to take any of a response that is complete here."""

    @property
    def open_exchange(self) -> Callable[[Downstream, Request], RequestEvents]: ...
    def check_at(self, deadline: float) -> None:
        """Check the deadlines of its streams then, which is earlier than before."""
