"""Clients that speak another protocol than a port does: told once, with what to do, instead of never or for each connection.

Looked at only when what a client sent has been refused already.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from time import monotonic

from fleet.runtime.terminal import one_line

__all__ = ["QUIET_SECONDS", "Strangers", "tongue_of"]

QUIET_SECONDS = 600.0
"""Between two lines about one protocol at one port: a probe that is set up wrongly comes every few seconds, for ever."""

TLS, HTTP2 = "TLS", "HTTP/2"
_HANDSHAKE = b"\x16\x03"
"""A record of the handshake, and the major version of all of SSL 3.0 and TLS (RFC 8446 5.1)."""
_PREFACE = b"PRI * HTTP/2.0\r\n"
"""How a client begins that knows beforehand that the server speaks HTTP/2 (RFC 9113 3.4)."""
_HINTS = {
    TLS: "use http://, or end TLS in front of it",
    HTTP2: "have the client use HTTP/1.1 (gRPC cannot), or put a proxy in front that does",
}

_log = logging.getLogger(__name__)


def tongue_of(begin: bytes) -> str | None:
    """What a client speaks that began so, if it is known and not HTTP/1."""
    if begin[:2] == _HANDSHAKE or begin == _HANDSHAKE[:1]:
        return TLS
    return HTTP2 if begin.startswith(_PREFACE) else None


class Strangers:
    """Those of one kind of port."""

    def __init__(self, purpose: str, *, clock: Callable[[], float] = monotonic) -> None:
        """`purpose` completes "the port for"."""
        self._purpose, self._clock = purpose, clock
        self._quiet_until: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def note(self, begin: bytes, transport: asyncio.BaseTransport | None) -> None:
        """A client was refused whose first bytes these are."""
        tongue = tongue_of(begin)
        if tongue is None:
            return
        now = self._clock()
        if now < self._quiet_until.get(tongue, now):
            self._unsaid[tongue] += 1
            return
        self._quiet_until[tongue] = now + QUIET_SECONDS
        more = self._unsaid.pop(tongue, 0)
        _log.warning(
            "a client at %s speaks %s to the port for %s (%s), which speaks plain HTTP/1.1: %s%s",
            _end(transport, "peername", 0),
            tongue,
            self._purpose,
            _end(transport, "sockname", 1),
            _HINTS[tongue],
            f"; {more} more since this was last said" if more else "",
        )


def _end(transport: asyncio.BaseTransport | None, name: str, part: int) -> str:
    """Address or port of one end of a connection, which may have none any more."""
    address = None if transport is None else transport.get_extra_info(name)
    return one_line(str(address[part])) if isinstance(address, tuple) else "unknown"
