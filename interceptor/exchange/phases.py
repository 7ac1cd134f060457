"""The phases of an exchange and their transitions, as a table. Pure.

    NEW ──► WAITING ◄──► DIALING ──► SENT ──► ANSWERING ──► DONE
     │         ▲                      │                      ▲
     ├─► DIALING, SENT                └─► WAITING, DIALING: connection failed before a response, to be sent again
     └───────────────────────── every phase may end ─────────┘

An exchange assigns its phase directly, because a warm request has four phases and checks would cost calls. Tests check every
assignment against the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ANSWERING", "DIALING", "DONE", "NAMES", "NEW", "NEXT", "SENT", "WAITING"]

NEW: Final = 0
"""Nothing was decided yet: the exchange is not counted, and holds nothing."""
WAITING: Final = 1
"""Counted as held, with an entry in the waiting room; without one only while the next backend is being chosen."""
DIALING: Final = 2
"""The exchange holds a slot, and a connection to that backend is being opened."""
SENT: Final = 3
"""The exchange holds a slot and a connection; at least a part of the request was sent. It may still be sent again."""
ANSWERING: Final = 4
"""The head of the response was sent to the client: the response is completed or reset."""
DONE: Final = 5
"""The exchange holds nothing any more. Further events have no effect."""

NAMES: Final = ("NEW", "WAITING", "DIALING", "SENT", "ANSWERING", "DONE")

NEXT: Final[Mapping[int, frozenset[int]]] = {
    NEW: frozenset({WAITING, DIALING, SENT, DONE}),
    WAITING: frozenset({WAITING, DIALING, SENT, DONE}),
    # After a failed dial it waits again, perhaps only while another backend is being chosen.
    DIALING: frozenset({WAITING, SENT, DONE}),
    # After a failed attempt the request is sent on a new connection.
    SENT: frozenset({WAITING, DIALING, ANSWERING, DONE}),
    ANSWERING: frozenset({DONE}),
    DONE: frozenset(),
}
"""For each phase, the phases that may follow it."""
