"""Whether the core of HTTP/2 is compiled in this process. It then has no calls and instructions of Python to count."""

from __future__ import annotations

from interceptor.http2.core import session

__all__ = ["COMPILED"]

COMPILED = not str(session.__file__).endswith(".py")
