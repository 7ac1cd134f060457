"""Valid and malformed field lists (RFC 9113 8.2, 8.3; RFC 8441)."""

from __future__ import annotations

import pytest

from interceptor.core.messages import Fields
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import PROTOCOL_ERROR
from interceptor.http2.core.header_rules import MAX_REMEMBERED, NO_NAMES, Malformed, Rules
from tests.support.h2_memory import GET, OK, Peer, headers

METHOD, SCHEME, PATH, AUTHORITY = GET
PLAIN = (b"a", b"b")
CONNECT: Fields = ((b":method", b"CONNECT"), AUTHORITY)
TUNNEL: Fields = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), SCHEME, PATH, AUTHORITY)

GOOD_REQUESTS: dict[str, Fields] = {
    "plain": GET,
    "another order": (AUTHORITY, PATH, SCHEME, METHOD),
    "without an authority": (METHOD, SCHEME, PATH),
    "a host in its place": (METHOD, SCHEME, PATH, (b"host", b"a.test")),
    "both alike": (*GET, (b"host", b"A.test")),
    "OPTIONS of the server": ((b":method", b"OPTIONS"), SCHEME, (b":path", b"*"), AUTHORITY),
    "te: trailers": (*GET, (b"te", b"trailers")),
    "te: Trailers": (*GET, (b"te", b"Trailers")),
    "an empty value": (*GET, (b"a", b"")),
    "a value with blanks and bytes above ASCII": (*GET, (b"a", b"b \t\xff c")),
    "a content-length": (*GET, (b"content-length", b"0")),
    "CONNECT": CONNECT,
    "a method that nobody knows": ((b":method", b"BREW"), SCHEME, PATH, AUTHORITY),
    "a port, and brackets": (METHOD, SCHEME, PATH, (b":authority", b"[::1]:8080")),
    "a query": (METHOD, SCHEME, (b":path", b"/a?b=c&d=%20"), AUTHORITY),
}
BAD_REQUESTS: dict[str, Fields] = {
    "no method": (SCHEME, PATH, AUTHORITY),
    "no scheme": (METHOD, PATH, AUTHORITY),
    "no path": (METHOD, SCHEME, AUTHORITY),
    "an empty path": (METHOD, SCHEME, (b":path", b""), AUTHORITY),
    "an empty method": ((b":method", b""), SCHEME, PATH, AUTHORITY),
    "two methods": (METHOD, *GET),
    "two schemes": (SCHEME, *GET),
    "two paths": (PATH, *GET),
    "two authorities": (AUTHORITY, *GET),
    "nothing": (),
    "an unknown pseudo-field": (*GET, (b":unknown", b"x")),
    "a status": (*GET, (b":status", b"200")),
    "a pseudo-field after others": (METHOD, SCHEME, PLAIN, PATH),
    "a pseudo-field after a cookie": (METHOD, SCHEME, (b"cookie", b"a"), PATH),
    "a pseudo-field after a length": (METHOD, SCHEME, (b"content-length", b"0"), PATH),
    "a path with a blank": (METHOD, SCHEME, (b":path", b"/a b"), AUTHORITY),
    "a path with a line end": (METHOD, SCHEME, (b":path", b"/a\r\nb"), AUTHORITY),
    "a path with a fragment": (METHOD, SCHEME, (b":path", b"/a#b"), AUTHORITY),
    "a path with bytes above ASCII": (METHOD, SCHEME, (b":path", b"/\xff"), AUTHORITY),
    "a path without a slash": (METHOD, SCHEME, (b":path", b"a"), AUTHORITY),
    "a URL": (METHOD, SCHEME, (b":path", b"http://b.test/"), AUTHORITY),
    "a star": (METHOD, SCHEME, (b":path", b"*"), AUTHORITY),
    "a method with a blank": ((b":method", b"GET /"), SCHEME, PATH, AUTHORITY),
    "a method with a line end": ((b":method", b"GET\r\n"), SCHEME, PATH, AUTHORITY),
    "a scheme that is none": (METHOD, (b":scheme", b"ht tp"), PATH, AUTHORITY),
    "user information": (METHOD, SCHEME, PATH, (b":authority", b"user@a.test")),
    "an authority with a blank": (METHOD, SCHEME, PATH, (b":authority", b"a test")),
    "an authority with a path": (METHOD, SCHEME, PATH, (b":authority", b"a.test/b")),
    "another host": (*GET, (b"host", b"b.test")),
    "two hosts": (METHOD, SCHEME, PATH, (b"host", b"a.test"), (b"host", b"a.test")),
    "a host that is none": (METHOD, SCHEME, PATH, (b"host", b"a.test, b.test")),
    "upper case": (*GET, (b"A", b"b")),
    "an empty name": (*GET, (b"", b"b")),
    "a name with a blank": (*GET, (b"a b", b"c")),
    "a name with a colon": (*GET, (b"a:b", b"c")),
    "a name with a line end": (*GET, (b"a\r\nb", b"c")),
    "a name with NUL": (*GET, (b"a\0", b"c")),
    "a name with bytes above ASCII": (*GET, (b"\xe4", b"c")),
    "a value with CR": (*GET, (b"a", b"b\rc")),
    "a value with LF": (*GET, (b"a", b"b\nc")),
    "a value with NUL": (*GET, (b"a", b"b\0c")),
    "a value with another control character": (*GET, (b"a", b"b\x7fc")),
    "a value that begins with a blank": (*GET, (b"a", b" b")),
    "a value that ends with a blank": (*GET, (b"a", b"b ")),
    "a value that begins with a tab": (*GET, (b"a", b"\tb")),
    "a value that is a blank": (*GET, (b"a", b" ")),
    "connection": (*GET, (b"connection", b"close")),
    "proxy-connection": (*GET, (b"proxy-connection", b"keep-alive")),
    "keep-alive": (*GET, (b"keep-alive", b"timeout=5")),
    "transfer-encoding": (*GET, (b"transfer-encoding", b"chunked")),
    "upgrade": (*GET, (b"upgrade", b"h2c")),
    "te: gzip": (*GET, (b"te", b"gzip")),
    "te: trailers, gzip": (*GET, (b"te", b"trailers, gzip")),
    "two lengths": (*GET, (b"content-length", b"0"), (b"content-length", b"0")),
    "a length with a sign": (*GET, (b"content-length", b"+0")),
    "a list of lengths": (*GET, (b"content-length", b"0, 0")),
    "an empty length": (*GET, (b"content-length", b"")),
    "a length of other digits": (*GET, (b"content-length", "²".encode("latin-1"))),
    "a length of many digits": (*GET, (b"content-length", b"0" * 19)),
    "CONNECT with a path": (*CONNECT, PATH),
    "CONNECT with a scheme": (*CONNECT, SCHEME),
    "CONNECT without an authority": CONNECT[:1],
    "CONNECT with a length": (*CONNECT, (b"content-length", b"0")),
    "a protocol that is not offered": TUNNEL,
    "a protocol without CONNECT": (*GET, (b":protocol", b"websocket")),
}
BAD_RESPONSES: dict[str, Fields] = {
    "no status": (PLAIN,),
    "two": (*OK, *OK),
    "no number": ((b":status", b"2x0"),),
    "four digits": ((b":status", b"2000"),),
    "below 100": ((b":status", b"099"),),
    "above 599": ((b":status", b"600"),),
    "a path": (*OK, PATH),
    "after others": (PLAIN, *OK),
    "connection": (*OK, (b"connection", b"close")),
    "upper case": (*OK, (b"Server", b"x")),
    "a line end": (*OK, (b"a", b"b\r\nset-cookie: c")),
    "two lengths": (*OK, (b"content-length", b"1"), (b"content-length", b"2")),
}
BAD_TRAILERS: dict[str, Fields] = {
    "a pseudo-field": OK,
    "upper case": ((b"A", b"b"),),
    "a length": ((b"content-length", b"0"),),
    "a host": ((b"host", b"a.test"),),
    "transfer-encoding": ((b"transfer-encoding", b"chunked"),),
    "a line end": ((b"a", b"b\n"),),
}


@pytest.mark.parametrize("fields", GOOD_REQUESTS.values(), ids=GOOD_REQUESTS)
def test_requests(fields: Fields) -> None:
    peer = Peer()
    for number in (1, 3):  # checked, and then cached
        peer.feed(headers(number, fields))
        assert peer.recorded[-1] == ("request", number, fields, True)


@pytest.mark.parametrize("fields", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_what_is_no_request_ends_its_stream_only(fields: Fields) -> None:
    peer = Peer()
    peer.feed(headers(1, fields) + headers(3, fields) + headers(5))
    assert peer.resets() == [(1, PROTOCOL_ERROR), (3, PROTOCOL_ERROR)]
    assert peer.recorded == [("request", 5, GET, True)]


@pytest.mark.parametrize("fields", BAD_RESPONSES.values(), ids=BAD_RESPONSES)
def test_what_is_no_response_ends_its_stream_only(fields: Fields) -> None:
    peer = Peer(client=True)
    peer.request()
    peer.wire()
    peer.feed(headers(1, fields))
    assert peer.resets() == [(1, PROTOCOL_ERROR)]
    assert peer.recorded == [("closed", 1), ("reset", 1, PROTOCOL_ERROR, False)]


@pytest.mark.parametrize("fields", BAD_TRAILERS.values(), ids=BAD_TRAILERS)
def test_what_are_no_trailers(fields: Fields) -> None:
    peer = Peer()
    peer.feed(headers(1, GET, end=False) + headers(1, fields))
    assert peer.resets() == [(1, PROTOCOL_ERROR)]


def test_what_a_request_says() -> None:
    head = Rules().request([*GET, (b"content-length", b"17"), (b"host", b"A.test")], NO_NAMES, connect=False, too_large=False)
    assert (head.method, head.scheme, head.path, head.authority, head.length) == (b"GET", b"http", b"/", b"a.test", 17)
    assert (
        Rules().request([METHOD, SCHEME, PATH, (b"host", b"b.test")], NO_NAMES, connect=False, too_large=False).authority
        == b"b.test"
    )


def test_the_parts_of_a_cookie_are_one_field() -> None:
    peer = Peer()
    peer.feed(headers(1, (*GET, (b"cookie", b"a=1"), PLAIN, (b"cookie", b"b=2"), (b"cookie", b"c=3"))))
    assert peer.recorded[-1][2] == (*GET, (b"cookie", b"a=1; b=2; c=3"), PLAIN)


def test_extended_connect_where_it_is_offered() -> None:
    peer = Peer(Config(connect=True))
    peer.feed(headers(1, TUNNEL, end=False))
    assert (peer.heads[0].protocol, peer.heads[0].method) == (b"websocket", b"CONNECT")
    for left_out in (2, 3, 4):
        fields = tuple(field for at, field in enumerate(TUNNEL) if at != left_out)
        with pytest.raises(Malformed):
            Rules().request(list(fields), NO_NAMES, connect=True, too_large=False)


def test_it_is_offered_in_settings_of_servers_only() -> None:
    assert Config(connect=True).settings(client=False)[8] == 1
    assert 8 not in Config(connect=True).settings(client=True)
    assert 8 not in Config().settings(client=False)


def test_what_is_remembered_of_fields_is_bounded_and_no_long_value_is() -> None:
    rules = Rules()
    for at in range(3 * MAX_REMEMBERED):
        rules.trailers([(b"a", b"%d" % at)])
        assert len(rules._kinds) <= MAX_REMEMBERED
    before = len(rules._kinds)
    rules.trailers([(b"a", b"v" * 257)])
    assert len(rules._kinds) == before


@pytest.mark.parametrize("bad", [b"b\r\n", b" b", b"b\t", b"\0"])
def test_a_name_that_was_good_may_have_a_bad_value_next(bad: bytes) -> None:
    peer = Peer()
    peer.feed(headers(1, (*GET, (b"a", b"b"))) + headers(3, (*GET, (b"a", bad))))
    assert peer.resets() == [(3, PROTOCOL_ERROR)]
    peer.feed(headers(5, (*GET, (b"te", b"trailers"))) + headers(7, (*GET, (b"te", b"gzip"))))
    assert peer.resets() == [(7, PROTOCOL_ERROR)]


def test_settings_that_cannot_be_kept_are_refused_here() -> None:
    for window, connection_window, frame in (
        (65534, 65535, 16384),
        (65535, 1 << 31, 16384),
        (65535, 65535, 16383),
        (65535, 65535, 1 << 24),
    ):
        with pytest.raises(ValueError, match="bytes"):
            Config(window=window, connection_window=connection_window, frame=frame)
