"""Checks the grammar of a complete request head. Pure; raises BadRequest only.

llhttp (from httptools) is used because it is fast. It knows only a fixed list of methods and versions, so a head that it refuses
is checked again by `interceptor.http1.grammar`.
"""

from __future__ import annotations

from typing import Final

import httptools

from interceptor.core.errors import BadRequest
from interceptor.http1.grammar import GrammarError, check_head, check_request_line

__all__ = ["Validator", "malformed"]

_NOT_PROXIED: Final = (b"CONNECT ", b"PRI ")
"""Methods that change what the connection carries (a TCP tunnel, HTTP/2), which a reverse proxy does not offer."""


class Validator:
    """One llhttp parser, used for one complete head after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def check(self, data: bytes) -> None:
        """Raises BadRequest. Call `renew` after every head except a plain request without a body."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if data.startswith(_NOT_PROXIED):  # whatever the target is
                self.renew()
                _check_grammar(data)
        except httptools.HttpParserError:
            self.renew()
            _check_grammar(data)

    def renew(self) -> None:
        """Create a new parser, because the old one now expects a body or the end of the connection."""
        self._parser = httptools.HttpRequestParser(self)


def _check_grammar(data: bytes) -> None:
    """Check a head that llhttp does not accept. Raises BadRequest."""
    try:
        check_head(data, check_request_line)
    except GrammarError as error:
        raise malformed(error) from None
    if data.startswith(_NOT_PROXIED):
        raise BadRequest(f"{data.split(b' ', 1)[0].decode()} is not for a reverse proxy", status=501, reason="method")


def malformed(error: GrammarError) -> BadRequest:
    """The error for a head that breaks the grammar."""
    return BadRequest(f"malformed request: {error}", reason="malformed")
