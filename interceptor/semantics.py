"""HTTP's semantics (RFC 9110), which every version of it has: facts about methods."""

__all__ = ["IDEMPOTENT"]

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})
"""Methods of which sending a request twice does what sending it once does (RFC 9110 9.2.2)."""
