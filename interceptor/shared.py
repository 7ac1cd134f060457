"""Values that all client connections and exchanges of one interceptor share: clock, time limits, settings, buffers and counters.

They are plain attributes of the host, because anything else would cost calls per request. Only `sheds` is changed later.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from fleet.runtime.protocol_mismatch import ProtocolMismatches
from interceptor.core.deadlines import Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.errors import ExchangeError
from interceptor.settings import InterceptorSettings
from interceptor.transport.hangups import HangupWatch
from interceptor.transport.relay import Relay
from interceptor.transport.tcp import Outbox
from interceptor.trust import TrustedProxies

__all__ = ["Shared"]


class Shared:
    """Settings and resources of connections; knows neither connections nor applications."""

    def __init__(self, settings: InterceptorSettings, deadlines: Deadlines, clock: Callable[[], float], outbox: Outbox) -> None:
        self.clock = clock
        self.deadlines = deadlines
        self.hangups = HangupWatch()
        self.relay = Relay(clock, outbox, enabled=settings.relay_ports)
        self.outbox = outbox
        self.mismatches = ProtocolMismatches("requests")
        self.head_timeout = settings.head_timeout
        self.keep_alive_timeout = settings.keep_alive_timeout
        self.on_http2: Callable[[asyncio.Transport, bytes, str], None] | None = None
        """Gets connections whose client speaks HTTP/2."""
        self.sheds = False
        """Whether connections are closed after their response."""
        self.early = EarlyBytes(settings.max_early_bytes)
        self.proxies = TrustedProxies.parse(settings.trusted_proxies)
        self.refusals: Counter[tuple[str, int]] = Counter()
        """Error responses to requests that belong to no application, by (reason, status)."""

    def refused(self, error: ExchangeError) -> None:
        self.refusals[error.reason, error.status] += 1
