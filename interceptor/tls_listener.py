"""The proxy's port for TLS: certificates, accepted sockets with the header of the PROXY protocol where one comes, handshakes, and
the codec that was agreed in each of them (ALPN)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from interceptor.core.errors import BadRequest
from interceptor.core.replies import text_reply
from interceptor.date import http_date
from interceptor.http1.over_tls import begin
from interceptor.http1.reply import encode_reply
from interceptor.http2.client import take_over
from interceptor.listener import Listener
from interceptor.proxy import Proxy
from interceptor.proxy_protocol.reception import Reception
from interceptor.proxy_protocol.sockets import receive
from interceptor.settings import InterceptorSettings
from interceptor.tls.certificates import PROTOCOLS, Certificates, Clients
from interceptor.transport.handshakes import Handshakes
from interceptor.trust import TrustedProxies

__all__ = ["TlsListener", "certificates"]

HTTP2: Final = "h2"


class TlsListener:
    """Accepts clients of one proxy over TLS. They are counted together with those that speak plaintext."""

    def __init__(self, settings: InterceptorSettings, proxy: Proxy) -> None:
        self._proxy = proxy
        self.certificates = certificates(settings, PROTOCOLS)
        self.handshakes = Handshakes(
            proxy,
            proxy.outbox.backlog,
            context=lambda: self.certificates.context,
            serve=self._serve,
            plaintext_answer=_plaintext_answer,
        )
        take: Callable[[socket.socket], None] | None = None
        if balancers := TrustedProxies.parse(settings.proxy_protocol):
            take = partial(receive, Reception(proxy, balancers), self.handshakes.accept)
        self._listener = Listener(self.handshakes.new, settings.host, settings.proxy_tls_port, proxy.clock, take=take)
        self.pause, self.resume = self._listener.pause, self._listener.resume

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def started(self) -> bool:
        return self._listener.started

    async def start(self) -> None:
        """Raises StartError if the port or a certificate cannot be used."""
        await self.certificates.start()
        await self._listener.start()

    async def stop_accepting(self) -> None:
        await self._listener.close()

    async def close(self) -> None:
        await self._listener.close()
        await self.handshakes.close()
        await self.certificates.close()

    def _serve(self, transport: asyncio.Transport, protocol: str | None, source: str) -> None:
        if protocol == HTTP2:
            take_over(self._proxy, transport, b"", source)
        else:
            begin(self._proxy, transport, source)


def certificates(settings: InterceptorSettings, protocols: Sequence[str]) -> Certificates:
    """The certificates of the settings, for connections in which one of these protocols is agreed (ALPN), or none."""
    clients = None
    if settings.proxy_tls_ca:
        clients = Clients(Path(settings.proxy_tls_ca), required=settings.proxy_tls_client_certs == "required")
    return Certificates(
        settings.proxy_tls, settings.certificate_directories, policy=settings.tls_policy, clients=clients, protocols=protocols
    )


def _plaintext_answer() -> bytes:
    error = BadRequest("this port speaks TLS: use https://")
    return encode_reply(text_reply(error), method=b"GET", close=True, date=http_date())
