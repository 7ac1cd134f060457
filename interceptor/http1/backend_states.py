"""The states of a backend connection and their transitions, as a table. Pure.

    IDLE ──► HEAD ──► LENGTH, CHUNKS, UNTIL_CLOSE ──► IDLE: the next request
      ▲        │
      └────────┤  a complete response at once
               └──► TUNNEL ──► TUNNEL_END              every state may end in CLOSED

A connection assigns its state directly, to save calls. Tests check every assignment against the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["CHUNKS", "CLOSED", "HEAD", "IDLE", "LENGTH", "NAMES", "NEXT", "TUNNEL", "TUNNEL_END", "UNTIL_CLOSE"]

IDLE: Final = 0
"""Between responses: the last one is complete. Bytes that arrive now are unexpected and end the connection."""
HEAD: Final = 1
"""A request was sent, and the final head of its response has not arrived. Interim responses do not change the state."""
LENGTH: Final = 2
"""In a body with a known length."""
CHUNKS: Final = 3
"""In a chunked body."""
UNTIL_CLOSE: Final = 4
"""In a body that ends with the connection."""
TUNNEL: Final = 5
"""Bytes are copied in both directions unchanged."""
TUNNEL_END: Final = 6
"""In a tunnel whose backend has closed its sending side: it still receives the client's data."""
CLOSED: Final = 7
"""The transport is closed."""

NAMES: Final = ("IDLE", "HEAD", "LENGTH", "CHUNKS", "UNTIL_CLOSE", "TUNNEL", "TUNNEL_END", "CLOSED")

NEXT: Final[Mapping[int, frozenset[int]]] = {
    # IDLE again: the state is IDLE when the response is complete, and `release` sets it once more.
    IDLE: frozenset({IDLE, HEAD, CLOSED}),
    HEAD: frozenset({IDLE, LENGTH, CHUNKS, UNTIL_CLOSE, TUNNEL, CLOSED}),
    LENGTH: frozenset({IDLE, CLOSED}),
    CHUNKS: frozenset({IDLE, CLOSED}),
    # The end of the connection is the end of the body: IDLE for a moment, then CLOSED.
    UNTIL_CLOSE: frozenset({IDLE, CLOSED}),
    TUNNEL: frozenset({TUNNEL_END, CLOSED}),
    TUNNEL_END: frozenset({CLOSED}),
    CLOSED: frozenset(),
}
"""For each state, the states that may follow it."""
