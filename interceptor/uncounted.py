"""What a port says of connections and flows that do not count, prepared for comparing. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from fleet.routing.firstbytes import parse_pattern
from interceptor.trust import TrustedProxies

if TYPE_CHECKING:
    from fleet.routing.port import Uncounted

__all__ = ["prepared"]


@lru_cache(1024)
def prepared(uncounted: Uncounted) -> tuple[TrustedProxies | None, tuple[tuple[bytes, ...], ...]]:
    """The networks, None without any, and the patterns of first bytes."""
    networks = TrustedProxies.parse(",".join(uncounted.networks)) if uncounted.networks else None
    return networks, tuple(parse_pattern(text) for text in uncounted.first_bytes)
