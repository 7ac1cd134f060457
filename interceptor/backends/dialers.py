"""Choice of the dialer for a backend: by how it is spoken to, as its route says it, or else the `appProtocol` of its port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet.routing.protocols import Spoken
    from interceptor.core.messages import Request
    from interceptor.core.sides import Dialer, Place, Upstream

__all__ = ["Dialers"]


class Dialers:
    """A dialer that delegates to one dialer for each way of speaking."""

    def __init__(self, dialers: Mapping[Spoken, Dialer]) -> None:
        self._dialers = dict(dialers)

    async def connect(self, endpoint: Place) -> Upstream:
        """Return an open, idle connection. Raises OSError."""
        return await self._of(endpoint).connect(endpoint)

    def probe(self, endpoint: Place, path: str) -> Request:
        """A GET request of our own, in the form of this backend's protocol."""
        return self._of(endpoint).probe(endpoint, path)

    def _of(self, endpoint: Place) -> Dialer:
        return self._dialers[endpoint.speaks]
