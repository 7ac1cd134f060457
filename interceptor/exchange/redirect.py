"""The answer to plaintext requests where the proxy asks for https: a redirect, whatever routes there are. Takes the place of an
exchange. Requests with which a certificate is obtained (ACME) go on by plaintext, because at first there may be none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from fleet import defaults
from interceptor.core.errors import BadRequest, ExchangeError
from interceptor.core.messages import HTTPS, Fields, Request
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import Downstream, RequestEvents

__all__ = ["Redirects"]

PERMANENT_REDIRECT: Final = 308
"""Unlike 301, it keeps the method and the body of a POST (RFC 9110 15.4.9)."""
_CHALLENGE: Final = re.compile(rb"/\.well-known/acme-challenge/[A-Za-z0-9_-]+")
"""The path of a challenge: RFC 8555 8.3. A token has no other characters, so no other path can be reached by it."""
_PORT: Final = re.compile(rb":[0-9]*\Z")

OpenExchange = Callable[[Downstream, Request], RequestEvents]


class Host(Protocol):
    """The proxy, as a redirect sees it."""

    clock: Callable[[], float]
    refusals: Counter[tuple[str, int]]


class Redirects:
    """Opens an exchange for a request that may go on, and answers all others. In the place of the proxy's `open_exchange`."""

    def __init__(self, host: Host, open_exchange: OpenExchange, *, https_port: Callable[[], int]) -> None:
        """`https_port` is asked for each redirect: the port for TLS may not be bound yet."""
        self._host = host
        self._open_exchange = open_exchange
        self._https_port = https_port

    def __call__(self, client: Downstream, head: Request) -> RequestEvents:
        if head.scheme is HTTPS or _CHALLENGE.fullmatch(head.path) or (client.trusted and _came_by_https(head)):
            return self._open_exchange(client, head)
        port = self._https_port()
        return _Redirect(self._host, client, head, b"" if port == defaults.HTTPS_PORT else b":%d" % port)


def _came_by_https(head: Request) -> bool:
    """Whether a proxy in front says that TLS ended there: a redirect would come back to it for ever."""
    return any(name == b"x-forwarded-proto" and value.lower() == HTTPS for name, value in head.match_fields())


class _Redirect:
    """One answer. Its request has no application."""

    __slots__ = ("_client", "_head", "_host", "_port", "method")

    answers_half_closed = False

    def __init__(self, host: Host, client: Downstream, head: Request, port: bytes) -> None:
        self._host = host
        self._client = client
        self._head = head
        self._port = port
        self.method = head.method

    def begin(self) -> None:
        host, head = _PORT.sub(b"", self._head.host), self._head
        if host:
            target = b"" if head.target == b"*" else head.target
            reply = Reply(PERMANENT_REDIRECT, ((b"Location", b"https://%b%b%b" % (host, self._port, target)),))
            self._host.refusals["https", PERMANENT_REDIRECT] += 1
        else:
            reply = text_reply(BadRequest("this port speaks plaintext, and only redirects to https; the request names no host"))
            self._host.refusals["https", BadRequest.status] += 1
        self._client.reply(reply, method=self.method, now=self._host.clock())

    def on_body(self, data: bytes | memoryview, *, complete: bool, trailers: Fields = ()) -> None:
        """Ignored: the request is answered without its body."""

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        return 0

    def on_client_lost(self) -> None:
        """Nothing is held for the client."""

    def on_broken_body(self, error: ExchangeError) -> bool:
        return False

    def on_deadline(self, now: float) -> None:
        """Not called: it is answered at once."""

    def pause_answer(self) -> None:
        """The answer is written at once."""

    def resume_answer(self) -> None:
        """The answer is written at once."""
