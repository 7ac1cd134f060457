"""What every client connection and exchange of one interceptor reads: clock, time limits, settings, common buffers and counts.

Set once, but for `sheds`. All of it is read as plain attributes of the host, as a warm request must not pay for more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from fleet.runtime.strangers import Strangers
from interceptor.core.deadlines import Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.errors import ExchangeError
from interceptor.core.sides import Downstream
from interceptor.settings import InterceptorSettings
from interceptor.transport.hangups import HangupWatch
from interceptor.transport.tcp import Outbox
from interceptor.trust import TrustedProxies

__all__ = ["Shared"]


class Shared:
    """Settings and means of connections; knows neither connections nor applications."""

    def __init__(self, settings: InterceptorSettings, deadlines: Deadlines, clock: Callable[[], float], outbox: Outbox) -> None:
        self.clock = clock
        self.deadlines = deadlines
        self.hangups = HangupWatch()
        self.outbox = outbox
        self.strangers = Strangers("requests")
        self.head_timeout = settings.head_timeout
        self.keep_alive_timeout = settings.keep_alive_timeout
        self.sheds = False
        """Whether connections are closed after their answer."""
        self.early = EarlyBytes(settings.max_early_bytes)
        self.proxies = TrustedProxies.parse(settings.trusted_proxies)
        self.refusals: Counter[tuple[str, int]] = Counter()
        """Requests that no application can be charged with, by (reason, status)."""

    def watch(self, client: Downstream) -> None:
        self.deadlines.watch(client)

    def refused(self, error: ExchangeError) -> None:
        self.refusals[error.reason, error.status] += 1
