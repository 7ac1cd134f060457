"""gRPC-Web as gRPC and back: base64 in pieces, fields, trailers, and the proxy's own responses."""

from __future__ import annotations

from base64 import b64encode
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.core.errors import Unavailable
from interceptor.core.messages import Field, Response
from interceptor.core.replies import Reply, text_reply
from interceptor.grpcweb.answers import own_answer
from interceptor.grpcweb.call import WebCall, WebResponse, trailers_frame
from interceptor.grpcweb.text import MAX_PIECES, TextDecoder, encode_text
from interceptor.http1.request import parse_request
from tests.support.full import examples

WEB = b"application/grpc-web+proto"
TEXT = b"application/grpc-web-text+proto"
MESSAGE = b"\0\0\0\0\2ab"


def decoded(*pieces: bytes) -> bytes:
    decoder = TextDecoder()
    content = b"".join(decoder.feed(piece) for piece in pieces)
    decoder.finish()
    return content


@settings(max_examples=examples(400))
@given(st.lists(st.binary(max_size=20), max_size=8), st.lists(st.integers(0, 200), max_size=8))
def test_however_base64_is_padded_and_split_its_content_is_the_same(contents: list[bytes], cuts: list[int]) -> None:
    text = b"".join(map(encode_text, contents))
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    assert decoded(*(text[start:end] for start, end in pairwise(places))) == b"".join(contents)


@pytest.mark.parametrize("text", [b"AAA", b"A===", b"AA=A", b"=AAA", b"AA*A", b"AAAA\n", b"AAAA AAAA", b"AAAA====", b"AA\r\n"])
def test_what_is_not_base64_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoded(text)
    with pytest.raises(ValueError, match=r"."):
        decoded(b"AAAA", text)


def test_padded_pieces_of_one_read_are_bounded() -> None:
    assert decoded(b"AA==" * MAX_PIECES, b"AA==" * MAX_PIECES) == bytes(MAX_PIECES * 2)
    with pytest.raises(ValueError, match="padded pieces at once"):
        decoded(b"AA==" * (MAX_PIECES + 2))


REQUEST: list[Field] = [
    (b"content-type", WEB),
    (b"content-length", b"7"),
    (b"accept", b"*/*"),
    (b"x-grpc-web", b"1"),
    (b"x-user-agent", b"grpc-web-javascript/0.1"),
    (b"grpc-timeout", b"5S"),
]


def of_kind(content_type: bytes, accept: bytes = b"*/*") -> WebCall:
    return WebCall([(b"content-type", content_type), (b"accept", accept)])


def response(*fields: Field, status: int = 200) -> Response:
    return WebResponse(status, -1, head_fields=fields)


GRPC: Field = (b"content-type", b"application/grpc")


def test_the_fields_of_a_request() -> None:
    assert WebCall(REQUEST).request_fields(REQUEST) == [
        (b"x-user-agent", b"grpc-web-javascript/0.1"),
        (b"grpc-timeout", b"5S"),
        (b"content-type", b"application/grpc+proto"),
        (b"te", b"trailers"),
    ]


def test_content_of_a_request_is_decoded_only_if_it_is_text() -> None:
    assert of_kind(WEB).content(MESSAGE) == MESSAGE
    text = of_kind(TEXT)
    assert bytes(text.content(b64encode(MESSAGE)[:5])) + bytes(text.content(b64encode(MESSAGE)[5:])) == MESSAGE
    text.finish()
    text.content(b"A")
    with pytest.raises(ValueError, match="multiple of four"):
        text.finish()
    of_kind(WEB).finish()


@pytest.mark.parametrize(
    ("content_type", "accept", "told"),
    [
        (WEB, b"*/*", WEB),
        (TEXT, b"*/*", TEXT),
        (WEB, b"application/grpc-web-text", TEXT),
        (TEXT, b"application/grpc-web+proto", WEB),
        (b"application/grpc-web", b"", b"application/grpc-web"),
    ],
)
def test_the_content_type_of_a_response(content_type: bytes, accept: bytes, told: bytes) -> None:
    head, content = of_kind(content_type, accept).head(response(GRPC, (b"a", b"b"), (b"content-length", b"9")), end=False)
    assert (head.fields(), head.length, content) == ([(b"a", b"b"), (b"content-type", told)], -1, b"")
    typed = of_kind(content_type, accept).head(response((b"content-type", b"application/grpc+json")), end=False)[0]
    assert dict(typed.fields())[b"content-type"].endswith(b"+json")


TRAILERS = ((b"grpc-status", b"0"), (b"a", b"b"))
FRAME = b"\x80\0\0\0\x16grpc-status: 0\r\na: b\r\n"


def test_trailers_are_a_frame() -> None:
    assert trailers_frame(TRAILERS) == FRAME
    for content_type, encoded in (WEB, bytes), (TEXT, b64encode):
        call = of_kind(content_type)
        call.head(response(GRPC), end=False)
        assert call.data(memoryview(MESSAGE)) == encoded(MESSAGE)
        assert call.tail(TRAILERS) == (encoded(FRAME), ())
        assert call.tail(()) == (encoded(trailers_frame(((b"grpc-status", b"13"), (b"grpc-message", NO_STATUS)))), ())


NO_STATUS = b"the backend ended its response without a status"


def test_a_response_of_trailers_only() -> None:
    date = (b"date", b"now")
    cors = (b"access-control-allow-origin", b"*")
    head, content = of_kind(WEB).head(response(GRPC, date, cors, *TRAILERS), end=True)
    assert content == FRAME
    assert (head.length, head.fields()) == (len(FRAME), [date, cors, (b"content-type", WEB), (b"content-length", b"27")])
    assert of_kind(TEXT).head(response(GRPC, *TRAILERS), end=True)[1] == b64encode(FRAME)


@pytest.mark.parametrize("end", [False, True])
def test_how_long_a_backend_works_on_is_not_lost(end: bool) -> None:
    said = response(GRPC)
    said.keep_awake = 1200.0
    assert of_kind(WEB).head(said, end=end)[0].keep_awake == 1200.0


@pytest.mark.parametrize("plain", [response((b"content-type", b"text/html"), status=200), response(GRPC, status=404)])
def test_a_response_that_is_not_of_grpc_goes_on_as_it_is(plain: Response) -> None:
    call = of_kind(TEXT)
    assert call.head(plain, end=False) == (plain, b"")
    assert call.data(b"<html>") == b"<html>"
    assert call.tail(TRAILERS) == (b"", TRAILERS)


def asked(content_type: bytes, method: bytes = b"POST", accept: bytes = b"*/*") -> bytes:
    return b"%b /a HTTP/1.1\r\nHost: a.test\r\nContent-Type: %b\r\nAccept: %b\r\n\r\n" % (method, content_type, accept)


BUSY = text_reply(Unavailable("busy", reason="busy", retry_after=1))


def test_own_responses() -> None:
    frame = trailers_frame(((b"grpc-status", b"14"), (b"grpc-message", b"busy"), (b"grpc-retry-pushback-ms", b"1000")))
    told = own_answer(parse_request(asked(WEB)), BUSY)
    assert (told.status, told.fields, told.body) == (200, ((b"content-type", WEB),), frame)
    told = own_answer(parse_request(asked(TEXT)), BUSY)
    assert (told.fields, told.body) == (((b"content-type", TEXT),), b64encode(frame))
    own = Reply(200, ((b"Content-Type", WEB),), FRAME)
    assert own_answer(parse_request(asked(WEB)), own) is own


@pytest.mark.parametrize("request_bytes", [asked(b"application/json"), asked(b"application/grpc"), asked(WEB, b"GET")])
def test_own_responses_to_others_stay_as_they_are(request_bytes: bytes) -> None:
    assert own_answer(parse_request(request_bytes), BUSY) is BUSY
