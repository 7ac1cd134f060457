"""Choice of the protocol for a backend: by the `appProtocol` of its port, if discovery reports one, or else the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interceptor.core.messages import Request
    from interceptor.core.sides import Dialer, Place, Upstream

__all__ = ["Dialers"]


class Dialers:
    """A dialer that delegates to one dialer per protocol. An unknown protocol uses the default dialer, because `appProtocol` is
    free text and most values ("http", "ws", a mesh's own) mean HTTP/1. The controller reports unsupported ones in the status."""

    def __init__(self, usual: Dialer, by_protocol: Mapping[str, Dialer] | None = None) -> None:
        """The keys of `by_protocol` are in lower case."""
        self._usual = usual
        self._by_protocol = dict(by_protocol or {})

    async def connect(self, endpoint: Place) -> Upstream:
        """Return an open, idle connection. Raises OSError."""
        return await self._of(endpoint).connect(endpoint)

    def probe(self, endpoint: Place, path: str) -> Request:
        """A GET request of our own, in the form of this backend's protocol."""
        return self._of(endpoint).probe(endpoint, path)

    def _of(self, endpoint: Place) -> Dialer:
        protocol = endpoint.backend.app_protocol
        return self._usual if protocol is None else self._by_protocol.get(protocol.lower(), self._usual)
