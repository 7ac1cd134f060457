"""What a connection from a client needs of the proxy that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fleet.runtime.strangers import Strangers
from interceptor.core.deadlines import Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Request
from interceptor.core.sides import Client, RequestEvents
from interceptor.transport.hangups import HangupWatch
from interceptor.transport.tcp import Outbox
from interceptor.trust import TrustedProxies

__all__ = ["ClientHost"]


class ClientHost(Protocol):
    """Of all its clients the same."""

    clock: Callable[[], float]
    """Seconds; it never goes back."""
    deadlines: Deadlines
    hangups: HangupWatch
    outbox: Outbox
    head_timeout: float
    keep_alive_timeout: float
    sheds: bool
    """Whether connections are closed after their answer: the proxy drains, or has no room for more of them."""
    early: EarlyBytes
    proxies: TrustedProxies
    """Clients whose word about who came to them is taken."""

    @property
    def open_exchange(self) -> Callable[[Client, Request], RequestEvents]: ...
    def client_opened(self, client: Client) -> None: ...
    def client_closed(self, client: Client) -> None: ...

    strangers: Strangers
    """Told how those began whose head was malformed."""

    def refused(self, error: ExchangeError) -> None:
        """A request was refused before it became an exchange."""
