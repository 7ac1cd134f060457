"""What is kept with heads that come again: requests and responses of which nothing changes, and composed heads for clients."""

from __future__ import annotations

import weakref

import pytest

from interceptor.core.messages import HTTP, HTTPS, FieldEdit, Fields
from interceptor.http2.core.block_reader import BlockReader
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import HEADERS
from interceptor.http2.core.header_rules import NO_NAMES, Head, Rules
from interceptor.http2.heads import read_request, read_response
from tests.support.h2_memory import GET, frames_of
from tests.support.h2_proxy import Http2Memory

CALL = (b"content-type", b"application/grpc")


def head_of(*fields: tuple[bytes, bytes]) -> Head:
    return Rules().request([*GET, *fields], NO_NAMES, connect=True, too_large=False)


def test_the_same_head_is_the_same_request() -> None:
    head = head_of(CALL)
    whole, begun = read_request(head, end=True), read_request(head, end=False)
    assert (whole.length, begun.length) == (0, -1)
    assert read_request(head, end=True) is whole
    assert read_request(head, end=False) is begun
    assert read_request(head, end=True, scheme=HTTPS).scheme == HTTPS
    assert read_request(head, end=True, scheme=HTTP).scheme == HTTP
    assert read_request(head, end=False, deadline=b"5S").timeout == 5.0
    assert read_request(head, end=False).timeout is None


@pytest.mark.parametrize(
    ("fields", "end"),
    [([CALL, (b"grpc-timeout", b"5S")], False), ([(b"expect", b"100-continue")], False), ([(b"max-forwards", b"3")], True)],
)
def test_a_request_that_changes_on_its_way_is_made_anew(fields: list[tuple[bytes, bytes]], *, end: bool) -> None:
    head = head_of(*fields)
    assert read_request(head, end=end) is not read_request(head, end=end)


def test_the_same_head_is_the_same_response_unless_it_has_another_length() -> None:
    head = Rules().response([(b":status", b"200"), (b"content-length", b"5")], NO_NAMES)
    response = read_response(head, b"GET", end=False)
    assert read_response(head, b"POST", end=False) is response
    assert [read_response(head, method, end=True).length for method in (b"HEAD", b"GET")] == [0, 5]
    response.composed = (), b"", ()
    assert response.edited(FieldEdit(added=((b"a", b"b"),))).composed is None


class Watched(frozenset[bytes]):
    """The names that must not be indexed of a head, whose end can be seen: only the head has them."""


def test_what_is_kept_with_a_head_ends_with_it() -> None:
    """Requests and responses are not seen by the garbage collector: in a cycle they would stay for ever."""
    asked, answered = Head(GET, Watched()), Head(((b":status", b"200"),), Watched())
    asked.method, asked.path, asked.authority, answered.status = b"GET", b"/", b"a.test", 200
    assert read_request(asked, end=True).for_stream(HTTP, b"192.0.2.1", trusted=False) is not None
    assert read_response(answered, b"GET", end=False).fields() == ()
    heads = weakref.ref(asked.never), weakref.ref(answered.never)
    del asked, answered
    assert [head() for head in heads] == [None, None]


@pytest.mark.parametrize("dated", [True, False])
async def test_responses_get_the_date_and_the_fields_of_their_time(monkeypatch: pytest.MonkeyPatch, *, dated: bool) -> None:
    memory = Http2Memory(http2=False)
    (app,), (backend,) = memory.proxy.apps.values(), memory.backends
    line = b"Date: Sun, 01 Mar 2026 00:00:00 GMT\r\n" if dated else b""
    reader, seen = BlockReader(Config()), []
    for second, added in enumerate([(), ((b"X-Added", b"1"),), ((b"X-Added", b"2"),)]):
        monkeypatch.setattr("interceptor.date.time", lambda second=second: float(second))
        app.fields = added
        memory.client.transport.written.clear()
        await memory.deliver(memory.client.transport, [memory.client.head(2 * second + 1, GET, end=True)])
        await memory.deliver(backend, [b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 2\r\n\r\nok"])
        blocks = [frame[3] for frame in frames_of(bytes(memory.client.transport.written)) if frame[0] == HEADERS]
        fields: Fields = tuple(reader.fields(blocks[-1])[0])
        seen.append((dict(fields)[b"date"][-12:], dict(fields).get(b"x-added")))
    dates = [b"00:00:00 GMT"] * 3 if dated else [b"00:00:0%d GMT" % second for second in range(3)]
    assert seen == list(zip(dates, (None, b"1", b"2"), strict=True))
