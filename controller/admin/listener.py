"""HTTP connections of the Admin API: bounded as everywhere, and no address has more than half of them."""

from __future__ import annotations

from typing import ClassVar

from fleet.runtime.guarded import GuardedProtocol

__all__ = ["MAX_CONNECTIONS", "AdminProtocol"]

MAX_CONNECTIONS = 200
"""Maximum number of connections: people, pipelines and their streams. Others get 503."""


class AdminProtocol(GuardedProtocol):
    """Who calls without a token from one address leaves half of the connections to others."""

    most_of_address: ClassVar[int] = MAX_CONNECTIONS // 2
