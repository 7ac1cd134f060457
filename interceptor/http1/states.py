"""The life of a connection from a client, as a table. Pure.

    HEAD ──► BODY ──► COMPLETE ──► HEAD: the next request
     └────────────────►  │
                         ├──► TUNNEL ──► CUT
                         │       ▼
     HEAD, BODY ─────────┴──► DISCARD         every state may end in CLOSED

A connection assigns its state without a call. Tests hold every assignment against the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["BODY", "CLOSED", "COMPLETE", "CUT", "DISCARD", "HEAD", "NAMES", "NEXT", "TUNNEL"]

HEAD: Final = 0
"""Between requests, or a head is coming."""
BODY: Final = 1
"""An exchange is open, and the body of its request is coming."""
COMPLETE: Final = 2
"""The request is whole, and its answer is not. What comes now is kept for later."""
TUNNEL: Final = 3
"""Bytes pass both ways as they are."""
DISCARD: Final = 4
"""No further request is answered: what comes is read and dropped, until the client has taken its answer or time is up."""
CUT: Final = 5
"""The backend of a tunnel was lost: the client gets a reset, once it has taken what came before."""
CLOSED: Final = 6
"""The transport is closed."""

NAMES: Final = ("HEAD", "BODY", "COMPLETE", "TUNNEL", "DISCARD", "CUT", "CLOSED")

NEXT: Final[Mapping[int, frozenset[int]]] = {
    HEAD: frozenset({BODY, COMPLETE, DISCARD, CLOSED}),
    BODY: frozenset({COMPLETE, DISCARD, CLOSED}),
    COMPLETE: frozenset({HEAD, TUNNEL, DISCARD, CLOSED}),
    TUNNEL: frozenset({DISCARD, CUT, CLOSED}),
    # An upgrade of a connection that had to give up its early bytes: it is reset at once.
    DISCARD: frozenset({TUNNEL, DISCARD, CLOSED}),
    CUT: frozenset({CLOSED}),
    CLOSED: frozenset(),
}
"""Which state may follow which."""
