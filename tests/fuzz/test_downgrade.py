"""Requests of HTTP/2 as HTTP/1.1: whatever a client sends, a backend never reads two requests for one, or another than was sent.

Hostile blocks of fields, content and trailers go through a session and are written as for a backend of HTTP/1.1; h11 and the
strict reader of these tests have to agree on what that is.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.core.errors import BadRequest
from interceptor.core.messages import Field, Fields
from interceptor.http1.foreign import ExactLength, chunk, encode_foreign_request, last_chunk
from interceptor.http2.core.header_rules import Head
from interceptor.http2.heads import read_request
from tests.support.full import examples
from tests.support.h2_memory import GET, POST, Peer, data, headers
from tests.support.judge import agreed_requests

EVIL = b"GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"
NAMES = (
    b":method", b":path", b":scheme", b":authority", b":protocol", b":status", b"host", b"content-length", b"transfer-encoding",
    b"connection", b"upgrade", b"te", b"expect", b"keep-alive", b"cookie", b"trailer",
    b"x", b"X", b"x y", b"x:", b"x\r\ny", b"", b"\0",
)  # fmt: skip
VALUES = (
    b"", b"a", b" a", b"a ", b"a\0b", b"a\rb", b"a\nb", b"a\r\n\r\n" + EVIL,
    b"0", b"3", b"+3", b"3, 3", b"3,4", b"03", b"chunked",
    b"identity", b"close", b"h2c", b"trailers", b"100-continue", b"a.test", b"b.test", b"/", b"/x", b"*", b"/a b",
    b"/ HTTP/1.1",
    b"http://b.test/", b"GET", b"HEAD", b"POST", b"CONNECT", b"GET / HTTP/1.1\r\nx:", b"websocket", b"\xff", b"http",
)  # fmt: skip

field = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.binary(max_size=8))
change = st.tuples(st.sampled_from(("add", "replace", "first", "twice", "drop")), st.integers(0, 3), field)
pieces = st.lists(st.sampled_from((b"", b"abc", b"0\r\n\r\n" + EVIL, EVIL)), max_size=3)


def changed(base: Fields, changes: list[tuple[str, int, Field]]) -> Fields:
    """A valid request with some changes."""
    fields = list(base)
    for how, at, new in changes:
        if how == "add":
            fields.append(new)
        elif how == "first":
            fields.insert(0, new)
        elif how == "drop":
            del fields[at : at + 1]
        elif at < len(fields):
            fields.insert(at, fields[at])
            if how == "replace":
                fields[at + 1] = (fields[at][0], new[1])
                del fields[at]
    return tuple(fields)


class Backend:
    """Writes what a session tells of one stream, as the connection to a backend of HTTP/1.1 does."""

    def __init__(self, head: Head, *, end: bool) -> None:
        request = read_request(head, end=end)
        whole = 0 if end else None
        self.wire = encode_foreign_request(request, b"192.0.2.1", trusted=False, authority=b"10.0.0.1:80", body=whole)
        self.framer = None if end else ExactLength(request.length) if request.length >= 0 else chunk
        self.whole = end

    def content(self, content: bytes, *, end: bool) -> None:
        assert self.framer is not None
        if content:
            self.wire += self.framer(content)
        if end:
            self.end(())

    def end(self, trailers: Fields) -> None:
        self.whole = True
        if self.framer is chunk:
            self.wire += last_chunk(trailers)


def written(peer: Peer) -> tuple[Backend | None, bytes]:
    """What the backend gets, and the content that the session told of."""
    (told,) = peer.only("request")
    content = b""
    try:
        backend = Backend(peer.heads[0], end=bool(told[3]))
    except BadRequest:
        return None, content
    for what, _, *rest in peer.only("data", "trailers"):
        if what == "data":
            assert isinstance(rest[0], bytes)
            content += rest[0]
            backend.content(rest[0], end=bool(rest[1]))
        else:
            backend.end(())
    return backend, content


@settings(max_examples=examples(2000), deadline=None)
@given(st.sampled_from((GET, POST)), st.lists(change, max_size=4), st.booleans(), pieces, st.lists(field, max_size=2))
def test_one_request_stays_one(
    base: Fields, changes: list[tuple[str, int, Field]], end: bool, content: list[bytes], trailers: list[Field]
) -> None:
    fields, peer = changed(base, changes), Peer()
    peer.feed(headers(1, fields, end=end))
    if not end and not peer.session.closed:
        for piece in content:
            peer.feed(data(1, piece))
        peer.feed(headers(1, tuple(trailers)) if trailers else data(1, b"", end=True))
    if not peer.only("request"):
        return
    backend, sent = written(peer)
    if backend is None:
        return
    read = agreed_requests(backend.wire)
    assert len(read) == backend.whole, (fields, backend.wire)
    for one in read:
        told = dict(peer.heads[0].fields)
        assert (one.method, one.target, one.body) == (told[b":method"], told[b":path"], sent)
        assert len(one.all(b"host")) == 1
        assert len(one.all(b"content-length")) + len(one.all(b"transfer-encoding")) <= 1
