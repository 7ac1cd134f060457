"""Fields of a request that the proxy reads or writes itself, and those by which a request chooses a preview. Pure.

All others are passed on unchanged, as are the marks of a choice. Looking for the usual marks beside the special fields costs next
to nothing; a search of their own would take a third of what the whole head takes.
"""

from __future__ import annotations

from typing import Final

from fleet.defaults import CONTEXT_HEADER
from fleet.routing.context import BAGGAGE, Marks
from interceptor.core.messages import CONNECTION_SCHEMES, OTHER_FORWARDING_FIELDS
from interceptor.http1.fields import field_splitter

__all__ = ["KEPT_OPTIONS", "USUAL_MARKS", "has_marks", "split_special", "split_special_and_marks"]

_SPECIAL: Final = [
    "host", "connection", "content-length", "transfer-encoding", "upgrade", "expect", "te", "keep-alive", "proxy-connection",
    "proxy-authorization", "http2-settings", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "max-forwards",
    "grpc-timeout", *OTHER_FORWARDING_FIELDS,
]  # fmt: skip
_SCHEMES: Final = {"authorization": "|".join(CONNECTION_SCHEMES)}

KEPT_OPTIONS: Final = frozenset({b"close", b"", b"authorization", b"cookie", *(name.encode() for name in _SPECIAL)})
"""Names in a Connection field that have no effect: a client must not be able to remove a field that a backend trusts by naming it
as a hop-by-hop field (RFC 9110 7.6.1)."""
USUAL_MARKS: Final = frozenset({CONTEXT_HEADER.encode(), BAGGAGE})
"""Names that requests choose by where a route does not say others."""

# X_Forwarded_For is another field than X-Forwarded-For, but becomes the same variable in CGI, WSGI and PHP. A field that looks
# like one of the proxy's in this way is removed; all other names with underscores are passed on.
split_special = field_splitter(_SPECIAL, look_alikes=True, conditional=_SCHEMES).split
_OF_ANY_VALUE: Final = {name.decode(): "" for name in USUAL_MARKS}
split_special_and_marks = field_splitter(_SPECIAL, look_alikes=True, conditional=_SCHEMES | _OF_ANY_VALUE).split


def has_marks(head: bytes, marks: Marks) -> bool:
    """Whether a head may have one of the fields, or the text in a cookie; true also for some heads that only look so."""
    lower = head.lower()
    if any(line in lower for line in marks.lines):
        return True
    return marks.cookie != b"" and (at := lower.find(b"\ncookie:")) >= 0 and head.find(marks.cookie, at) >= 0
