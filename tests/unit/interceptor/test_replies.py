"""What the proxy answers in its own name."""

from __future__ import annotations

import pytest

from interceptor.errors import BadRequest, BadResponse, ExchangeError, Unavailable
from interceptor.replies import encode_reply, no_route
from tests.wire.proxy_strict import read_response


@pytest.mark.parametrize("status", [400, 404, 408, 414, 417, 431, 500, 501, 502, 503, 504, 505])
@pytest.mark.parametrize("close", [True, False])
def test_every_status_is_a_whole_strict_response(status: int, close: bool) -> None:
    found = read_response(encode_reply(ExchangeError("why", status=status), method=b"GET", close=close))
    assert found is not None
    message, rest = found
    assert (message.status, message.body, rest) == (status, b"weir: why\n", b"")
    assert message.get(b"connection") == (b"close" if close else None)


def test_a_head_request_gets_the_same_head_and_no_body() -> None:
    error = Unavailable("full", retry_after=3)
    whole = encode_reply(error, method=b"GET", close=False)
    assert whole == encode_reply(error, method=b"HEAD", close=False) + b"weir: full\n"
    assert b"\r\nRetry-After: 3\r\n" in whole


def test_what_a_client_sent_cannot_break_the_answer() -> None:
    error = no_route(b'evil"\r\nSet-Cookie: a=b\x1b[31m\xff', b"/" + b"x" * 5000)
    found = read_response(encode_reply(error, method=b"GET", close=True))
    assert found is not None
    message, rest = found
    assert rest == b""
    assert message.get(b"set-cookie") is None
    assert message.body.count(b"\n") == 1
    assert message.body.isascii()
    assert len(message.body) < 1000


def test_errors_know_their_status() -> None:
    assert (BadRequest("x").status, BadResponse("x").status, Unavailable("x").status) == (400, 502, 503)
    assert BadRequest("x", status=431, reason="too_large").reason == "too_large"
    assert str(BadRequest("why")) == "why"
