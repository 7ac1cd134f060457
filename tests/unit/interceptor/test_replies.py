"""Replies of the proxy itself."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time

import pytest

from interceptor.core.errors import BadRequest, BadResponse, ExchangeError, Unavailable
from interceptor.core.replies import Reply, no_route, text_reply
from interceptor.date import http_date
from interceptor.http1.reply import encode_reply
from tests.support.acting import acting
from tests.support.strict_reader import read_response

DATE = b"Fri, 02 Jan 2026 03:04:05 GMT"


@pytest.mark.parametrize("status", [400, 404, 408, 414, 417, 431, 500, 501, 502, 503, 504, 505])
@pytest.mark.parametrize("close", [True, False])
def test_every_status_is_a_whole_strict_response(status: int, close: bool) -> None:
    found = read_response(encode_reply(text_reply(ExchangeError("why", status=status)), method=b"GET", close=close, date=DATE))
    assert found is not None
    message, rest = found
    assert (message.status, message.body, rest) == (status, b"weir: why\n", b"")
    assert message.get(b"connection") == (b"close" if close else None)


def test_a_head_request_gets_the_same_head_and_no_body() -> None:
    reply = text_reply(Unavailable("full", retry_after=3))
    whole = encode_reply(reply, method=b"GET", close=False, date=DATE)
    assert whole == encode_reply(reply, method=b"HEAD", close=False, date=DATE) + b"weir: full\n"
    assert b"\r\nRetry-After: 3\r\n" in whole


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_no_length_either(status: int) -> None:
    wire = encode_reply(Reply(status, ((b"ETag", b'"a"'),), b"dropped"), method=b"GET", close=False, date=DATE)
    assert wire == b'HTTP/1.1 %d %b\r\nETag: "a"\r\nDate: %b\r\n\r\n' % (
        status,
        b"No Content" if status == 204 else b"Not Modified",
        DATE,
    )


def test_a_status_nobody_named_has_an_empty_phrase() -> None:
    wire = encode_reply(Reply(599, ()), method=b"GET", close=False, date=DATE)
    assert wire == b"HTTP/1.1 599 \r\nDate: %b\r\nContent-Length: 0\r\n\r\n" % DATE


def test_what_a_client_sent_cannot_break_the_answer() -> None:
    reply = text_reply(no_route(b'evil"\r\nSet-Cookie: a=b\x1b[31m\xff', b"/" + b"x" * 5000))
    found = read_response(encode_reply(reply, method=b"GET", close=True, date=DATE))
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


def test_it_tells_when_it_was_made_unless_it_says_so_itself() -> None:
    own = encode_reply(Reply(200, ((b"date", b"today"),)), method=b"GET", close=False, date=DATE)
    assert own.lower().count(b"date:") == 1
    assert b"date: today\r\n" in own
    found = read_response(encode_reply(Reply(200, ()), method=b"GET", close=False, date=DATE))
    assert found is not None
    assert found[0].get(b"date") == DATE
    assert abs(parsedate_to_datetime(http_date().decode()).timestamp() - time()) < 5


def test_what_a_client_sent_acts_on_no_terminal() -> None:
    """Every byte, and UTF-8 sequences, because curl prints the response unchanged."""
    sent = bytes(range(256)) + "\x9b2J\u202e\u2028\u2066".encode()
    for at in range(0, len(sent), 100):
        message = str(no_route(b"h" + sent[at : at + 100], b"/" + sent[at : at + 100]))
        assert not acting(message)
        assert "\t" not in message
