"""Which protocol a backend is spoken to with: by what discovery says of its port (`appProtocol`), or else the usual one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interceptor.core.messages import Request
    from interceptor.core.sides import Dialer, Place, Upstream

__all__ = ["Dialers"]


class Dialers:
    """A dialer made of others. A protocol that none of them speaks is tried in the usual one: names are free text, and most of
    them ("http", "ws", a mesh's own) mean HTTP/1. The controller's status tells those that Weir does not speak."""

    def __init__(self, usual: Dialer, by_protocol: Mapping[str, Dialer] | None = None) -> None:
        """Keys in lower case."""
        self._usual = usual
        self._by_protocol = dict(by_protocol or {})

    async def connect(self, endpoint: Place) -> Upstream:
        """A connection that is open, and at rest. Raises OSError."""
        return await self._of(endpoint).connect(endpoint)

    def probe(self, endpoint: Place, path: str) -> Request:
        """A GET of our own, as connections to this backend send it."""
        return self._of(endpoint).probe(endpoint, path)

    def _of(self, endpoint: Place) -> Dialer:
        protocol = endpoint.backend.app_protocol
        return self._usual if protocol is None else self._by_protocol.get(protocol.lower(), self._usual)
