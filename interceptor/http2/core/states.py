"""The states of a stream and their transitions, as a table (RFC 9113 5.1). Pure. No reserved states, because push is not used.

                    HEADERS                       END_STREAM received
    IDLE ─────────────────────────────► OPEN ──────────────────────────► HALF_REMOTE
     │ HEADERS with END_STREAM, sent     │ END_STREAM sent                 │ END_STREAM sent
     ▼                                   ▼                                 ▼
    HALF_LOCAL ◄─────────────────────────┘ ──── END_STREAM received ───► CLOSED ◄── RST_STREAM, in every state but IDLE

One look-up per frame gives the next state or the error.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CLOSED",
    "CONNECTION_CLOSED",
    "CONNECTION_PROTOCOL",
    "FAULTS",
    "HALF_LOCAL",
    "HALF_REMOTE",
    "IDLE",
    "IGNORED",
    "INPUTS",
    "NEXT",
    "NOT_ALLOWED",
    "OPEN",
    "RECV_DATA",
    "RECV_DATA_END",
    "RECV_HEADERS",
    "RECV_HEADERS_END",
    "RECV_RESET",
    "RECV_UPDATE",
    "SEND_DATA",
    "SEND_DATA_END",
    "SEND_HEADERS",
    "SEND_HEADERS_END",
    "SEND_RESET",
    "STATES",
    "STREAM_CLOSED_FAULT",
    "WIDTH",
]

IDLE: Final = 0
OPEN: Final = 1
HALF_LOCAL: Final = 2
"""We have sent the end of our message."""
HALF_REMOTE: Final = 3
"""The peer has sent the end of its message."""
CLOSED: Final = 4
STATES: Final = ("IDLE", "OPEN", "HALF_LOCAL", "HALF_REMOTE", "CLOSED")

# An input with END_STREAM is the next number of the same input without it.
RECV_HEADERS: Final = 0
RECV_HEADERS_END: Final = 1
RECV_DATA: Final = 2
RECV_DATA_END: Final = 3
RECV_RESET: Final = 4
RECV_UPDATE: Final = 5
SEND_HEADERS: Final = 6
SEND_HEADERS_END: Final = 7
SEND_DATA: Final = 8
SEND_DATA_END: Final = 9
SEND_RESET: Final = 10
INPUTS: Final = (
    "RECV_HEADERS",
    "RECV_HEADERS_END",
    "RECV_DATA",
    "RECV_DATA_END",
    "RECV_RESET",
    "RECV_UPDATE",
    "SEND_HEADERS",
    "SEND_HEADERS_END",
    "SEND_DATA",
    "SEND_DATA_END",
    "SEND_RESET",
)
WIDTH: Final = 11

CONNECTION_PROTOCOL: Final = -1
"""Connection error PROTOCOL_ERROR."""
STREAM_CLOSED_FAULT: Final = -2
"""Stream error STREAM_CLOSED."""
CONNECTION_CLOSED: Final = -3
"""Connection error STREAM_CLOSED. But after a reset by us such frames may be on their way, and are ignored."""
IGNORED: Final = -4
"""A late frame, which is ignored."""
NOT_ALLOWED: Final = -5
"""We must not send this frame: the call has no effect."""
FAULTS: Final = ("CONNECTION_PROTOCOL", "STREAM_CLOSED_FAULT", "CONNECTION_CLOSED", "IGNORED", "NOT_ALLOWED")

NEXT: Final[tuple[int, ...]] = (
    # RECV_HEADERS, _END, RECV_DATA, _END, RECV_RESET, RECV_UPDATE, SEND_HEADERS, _END, SEND_DATA, _END, SEND_RESET
    *(OPEN, HALF_REMOTE, -1, -1, -1, -1, OPEN, HALF_LOCAL, -5, -5, -5),  # IDLE
    *(OPEN, HALF_REMOTE, OPEN, HALF_REMOTE, CLOSED, OPEN, OPEN, HALF_LOCAL, OPEN, HALF_LOCAL, CLOSED),  # OPEN
    *(HALF_LOCAL, CLOSED, HALF_LOCAL, CLOSED, CLOSED, HALF_LOCAL, -5, -5, -5, -5, CLOSED),  # HALF_LOCAL
    *(-2, -2, -2, -2, CLOSED, HALF_REMOTE, HALF_REMOTE, CLOSED, HALF_REMOTE, CLOSED, CLOSED),  # HALF_REMOTE
    *(-3, -3, -3, -3, -4, -4, -5, -5, -5, -5, -5),  # CLOSED
)
"""The next state at index state * WIDTH + input; a fault if below zero."""
