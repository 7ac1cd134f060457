"""The life of an exchange, as a table. Pure.

    NEW ──► WAITING ◄──► DIALING ──► SENT ──► ANSWERING ──► DONE
     │         ▲                      │                      ▲
     ├─► DIALING, SENT                └─► WAITING, DIALING, SENT: lost unanswered, and sent again
     └───────────────────────── every phase may end ─────────┘

An exchange assigns its phase without a call, for a warm request goes through four of them. Tests hold every assignment against
the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ANSWERING", "DIALING", "DONE", "NAMES", "NEW", "NEXT", "SENT", "WAITING"]

NEW: Final = 0
"""Nothing was decided yet: it is not counted, and holds nothing."""
WAITING: Final = 1
"""Counted as held. It holds a place in the waiting room; or none for the moment in which it looks for another backend."""
DIALING: Final = 2
"""It holds a slot, and a connection to that backend is being opened."""
SENT: Final = 3
"""It holds a slot and a connection; its request went out, at least in part. It may still be sent again."""
ANSWERING: Final = 4
"""The head of the response went to the client: from here on it ends whole, or is cut."""
DONE: Final = 5
"""It holds nothing any more. Whatever it is told changes nothing."""

NAMES: Final = ("NEW", "WAITING", "DIALING", "SENT", "ANSWERING", "DONE")

NEXT: Final[Mapping[int, frozenset[int]]] = {
    NEW: frozenset({WAITING, DIALING, SENT, DONE}),
    WAITING: frozenset({WAITING, DIALING, SENT, DONE}),
    DIALING: frozenset({WAITING, DIALING, SENT, DONE}),
    SENT: frozenset({WAITING, DIALING, SENT, ANSWERING, DONE}),
    ANSWERING: frozenset({DONE}),
    DONE: frozenset({DONE}),
}
"""Which phase may follow which."""
