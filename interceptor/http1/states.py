"""The states of a client connection and their transitions, as a table. Pure.

    HEAD ──► BODY ──► COMPLETE ──► HEAD: the next request
     └────────────────►  │
                         ├──► TUNNEL ──► CUT
                         │       ▼
     HEAD, BODY ─────────┴──► DISCARD         every state may end in CLOSED

A connection assigns its state directly, to save calls. Tests check every assignment against the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ACTIVITIES", "BODY", "CLOSED", "COMPLETE", "CUT", "DISCARD", "HEAD", "NAMES", "NEXT", "TUNNEL"]

HEAD: Final = 0
"""Between requests, or a head is being received."""
BODY: Final = 1
"""An exchange is open, and the body of its request is being received."""
COMPLETE: Final = 2
"""The request is complete, its response is not. Bytes that arrive now belong to later requests and are buffered."""
TUNNEL: Final = 3
"""Bytes are copied in both directions unchanged."""
DISCARD: Final = 4
"""No further request is answered: input is read and dropped until the client has read its response or the time limit passes."""
CUT: Final = 5
"""The backend connection of a tunnel failed: reset after the client has read the data that came before."""
CLOSED: Final = 6
"""The transport is closed."""

NAMES: Final = ("HEAD", "BODY", "COMPLETE", "TUNNEL", "DISCARD", "CUT", "CLOSED")
ACTIVITIES: Final = ("head", "body", "response", "tunnel", "closing", "closing", "closed")
"""The same for people."""

NEXT: Final[Mapping[int, frozenset[int]]] = {
    HEAD: frozenset({BODY, COMPLETE, DISCARD, CLOSED}),
    BODY: frozenset({COMPLETE, DISCARD, CLOSED}),
    COMPLETE: frozenset({HEAD, TUNNEL, DISCARD, CLOSED}),
    TUNNEL: frozenset({DISCARD, CUT, CLOSED}),
    # An upgrade after early bytes had to be discarded: the connection is reset at once.
    DISCARD: frozenset({TUNNEL, DISCARD, CLOSED}),
    CUT: frozenset({CLOSED}),
    CLOSED: frozenset(),
}
"""For each state, the states that may follow it."""
