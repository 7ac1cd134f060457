"""The events of the core of HTTP/2, ignored: bases for the peers of tests.

They are not the core's Protocols themselves, from which nobody can inherit where the core is compiled.
"""

from __future__ import annotations

from typing import ClassVar

from interceptor.core.messages import Fields
from interceptor.http2.core.header_rules import Head
from interceptor.http2.core.stream import Stream

__all__ = ["IgnoredSession", "IgnoredStream"]


class IgnoredStream:
    """`StreamEvents`."""

    __slots__ = ()

    def on_message(self, head: Head, data: bytes | memoryview, trailers: Fields) -> None:
        """Ignored."""

    def on_headers(self, head: Head, *, end: bool) -> None:
        """Ignored."""

    def on_data(self, data: bytes | memoryview, *, end: bool) -> None:
        """Ignored."""

    def on_trailers(self, fields: Fields) -> None:
        """Ignored."""

    def on_reset(self, code: int, *, unprocessed: bool) -> None:
        """Ignored."""

    def on_writable(self) -> None:
        """Ignored."""


class IgnoredSession:
    """`SessionEvents`."""

    __slots__ = ()

    whole: ClassVar[bool] = False

    def on_output(self) -> None:
        """Ignored."""

    def on_request(self, stream: Stream, head: Head, *, end: bool, data: bytes | memoryview = b"") -> None:
        """Ignored."""

    def on_stream_closed(self, stream: Stream) -> None:
        """Ignored."""

    def on_settings(self) -> None:
        """Ignored."""

    def on_goaway(self, code: int) -> None:
        """Ignored."""

    def on_pong(self, payload: bytes) -> None:
        """Ignored."""

    def on_closed(self, code: int, message: str) -> None:
        """Ignored."""
