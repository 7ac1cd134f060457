"""Sizes that all codecs share: bounds of heads, and up to which size data is copied. Pure."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COPIED_BYTES",
    "MAX_LENGTH_DIGITS",
    "MAX_REQUEST_FIELDS",
    "MAX_REQUEST_HEAD",
    "MAX_RESPONSE_FIELDS",
    "MAX_RESPONSE_HEAD",
    "MAX_TARGET_BYTES",
]

MAX_LENGTH_DIGITS: Final = 18
"""Maximum digits of a Content-Length, so that it is always below 2**63."""
MAX_TARGET_BYTES: Final = 16 * 1024
"""Maximum size of a request's target. Most servers accept 8 KiB."""
MAX_REQUEST_HEAD: Final = 32 * 1024
"""Maximum bytes of a request's head: not less than what usual servers accept (nginx 4 x 8 KiB, HAProxy 16 KiB), so that Weir does
not refuse what they would take."""
MAX_REQUEST_FIELDS: Final = 256
"""Maximum number of fields in one head. Browsers send about 20, gateways add a dozen; nginx and HAProxy allow 100 to 200."""
MAX_RESPONSE_HEAD: Final = 64 * 1024
"""Maximum bytes of a response's head. Larger than for requests, because backends send large cookies and policies."""
MAX_RESPONSE_FIELDS: Final = 1024
"""Maximum number of fields in one head. Each costs about a microsecond when they are handled one by one."""
COPIED_BYTES: Final = 16 * 1024
"""Up to this size, copying the data is cheaper than working on a view of the shared buffer."""
