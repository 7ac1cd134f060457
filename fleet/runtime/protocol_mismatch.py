"""Logs clients that speak another protocol than the port does, with a hint: once per period, not for each connection.

Called only after the client's data was refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final

from fleet.runtime.terminal import one_line

__all__ = ["QUIET_SECONDS", "ProtocolMismatches", "foreign_protocol"]

QUIET_SECONDS: Final = 600.0
"""Seconds between two log lines about one protocol at one port: a misconfigured probe connects every few seconds."""

TLS: Final = "TLS"
HTTP2: Final = "HTTP/2"
PROXY: Final = "the PROXY protocol"
_PROXY_HEADERS: Final = (b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n", b"\x00\r\nQUIT\n")
"""How its header begins, in version 1 and 2; empty lines before a request may have been dropped."""
_HANDSHAKE: Final = b"\x16\x03"
"""The first bytes of a TLS handshake record: type 22, and the major version of SSL 3.0 and all TLS versions (RFC 8446 5.1)."""
_PREFACE: Final = b"PRI * HTTP/2.0\r\n"
"""The start of an HTTP/2 connection with prior knowledge (RFC 9113 3.4)."""
_HINTS: Final = {
    TLS: "use http://, or end TLS in front of it",
    HTTP2: "have the client use HTTP/1.1 (gRPC cannot), or put a proxy in front that does",
    PROXY: "if it is a load balancer of yours, list it in WEIR_PROXY_PROTOCOL (proxy_protocol); other ports have no such header",
}

_log = logging.getLogger(__name__)


def foreign_protocol(begin: bytes) -> str | None:
    """The protocol of a client that sent these first bytes: TLS, HTTP/2 or that of PROXY headers, or None."""
    if begin[:2] == _HANDSHAKE or begin == _HANDSHAKE[:1]:
        return TLS
    if begin.startswith(_PROXY_HEADERS):
        return PROXY
    return HTTP2 if begin.startswith(_PREFACE) else None


class ProtocolMismatches:
    """The protocol mismatches at one kind of port."""

    def __init__(self, purpose: str, *, clock: Callable[[], float] = monotonic) -> None:
        """`purpose` completes "the port for" in the log line."""
        self._purpose, self._clock = purpose, clock
        self._quiet_until: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()

    def note(self, begin: bytes, transport: asyncio.BaseTransport | None) -> None:
        """A client was refused that sent these first bytes."""
        protocol = foreign_protocol(begin)
        if protocol is None:
            return
        now = self._clock()
        if now < self._quiet_until.get(protocol, now):
            self._suppressed[protocol] += 1
            return
        self._quiet_until[protocol] = now + QUIET_SECONDS
        more = self._suppressed.pop(protocol, 0)
        _log.warning(
            "a client at %s speaks %s to the port for %s (%s), which speaks plain HTTP/1.1: %s%s",
            _end(transport, "peername", 0),
            protocol,
            self._purpose,
            _end(transport, "sockname", 1),
            _HINTS[protocol],
            f"; {more} more since this was last said" if more else "",
        )


def _end(transport: asyncio.BaseTransport | None, name: str, part: int) -> str:
    """Address or port of one end of a connection; "unknown" when it is closed."""
    address = None if transport is None else transport.get_extra_info(name)
    return one_line(str(address[part])) if isinstance(address, tuple) else "unknown"
