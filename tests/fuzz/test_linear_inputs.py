"""No input of a peer can be made slow: what reads it takes time that grows with its length, and not faster.

Each reader gets inputs that are eight times as long as those before, of every kind that offers something to go back over:
many of a thing, long ones, ones that are broken at their end, whole and byte by byte. What Python does is counted in its
instructions, what it has C do (finding, splitting, joining, copying) is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.context import Context
from fleet.routing.explanation import explain
from fleet.routing.host import normal_host
from fleet.routing.previews import Previews
from fleet.routing.route import Affinity, HeaderMatch, Route, Rule, StaticFile, StaticResponse, StaticRoute, Target
from fleet.routing.static import StaticRoutes
from fleet.routing.table import RoutingTable
from interceptor.app.affinity import Sessions
from interceptor.app.answers import Answer, accepts_html
from interceptor.app.local_answers import LocalAnswers
from interceptor.core.errors import BadRequest, BadResponse
from interceptor.grpcweb.text import TextDecoder
from interceptor.http1.chunked import ChunkedReader, ChunkError
from interceptor.http1.request import RequestHead, parse_request
from interceptor.http1.response import parse_response
from tests.support.growth import STEP, count, grows
from tests.support.heads import forwarded, passed_on
from tests.support.proxy_memory import MemoryProxy

MOST_COUNTED = 10
"""Times as many instructions for 8 times the length. Counts are exact, so this may be close to 8."""
COUNTED = (2048, 2048 * STEP)
TIMED = (512, 4096, 32768)
"""Bytes. The longest is a whole head."""

Make = Callable[[int], bytes]


def times(each: bytes, length: int) -> bytes:
    return each * (length // len(each))


def head(*fields: bytes, target: bytes = b"/", line: bytes = b"") -> bytes:
    return b"\r\n".join((line or b"GET " + target + b" HTTP/1.1", b"Host: a.test", *fields)) + b"\r\n\r\n"


def answer(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((line, *fields)) + b"\r\n\r\n"


def lines(name: bytes, length: int, value: bytes = b"v" * 100) -> list[bytes]:
    """As many fields as a head may have, when it is as long as it may be."""
    return [name.replace(b"#", b"%d" % at) + b": " + value for at in range(length // 130)]


FIELDS: dict[str, Callable[[int], list[bytes]]] = {
    "many fields": lambda n: lines(b"X-#", n),
    "one field many times": lambda n: lines(b"X-A", n),
    "many cookies": lambda n: lines(b"Cookie", n, times(b"a=b; ", 100)),
    "many of those that are read": lambda n: lines(b"Connection", n, b"x-a"),
    "many that look like those that are read": lambda n: lines(b"Transfer_Encoding", n),
    "options and what they name": lambda n: [*lines(b"X-#", n // 2), *lines(b"Connection", n // 2, b"x-1, x-2, x-3, x-4")],
    "a long name": lambda n: [times(b"x", n) + b": y"],
    "a long name like one that is read": lambda n: [b"x-forwarded-for" * (n // 15) + b": y"],
    "a long value": lambda n: [b"X: " + times(b"y", n)],
    "blanks": lambda n: [b"X:" + times(b" ", n)],
    "blanks, and what is refused": lambda n: [b"X:" + times(b" \t", n) + b"\x01"],
    "blanks before what is read": lambda n: [b"Connection:" + times(b" ", n) + b"close"],
    "blanks behind what is read": lambda n: [b"Connection: close" + times(b"\t", n)],
    "blanks in what is read": lambda n: [b"Connection: a" + times(b" ", n) + b"b"],
    "blanks before a length": lambda n: [b"Content-Length:" + times(b" ", n) + b"5"],
    "many digits": lambda n: [b"Content-Length: " + times(b"0", n)],
    "many codings": lambda n: [b"Transfer-Encoding: " + times(b"chunked, ", n) + b"chunked"],
    "many options": lambda n: [b"Connection: " + times(b"a,", n)],
    "many different options": lambda n: [b"Connection: " + b",".join(b"%05d" % at for at in range(n // 6))],
    "many protocols": lambda n: [b"Connection: upgrade", b"Upgrade: " + times(b"a/1, ", n)],
    "many addresses": lambda n: [b"X-Forwarded-For: " + times(b"192.0.2.7, ", n)],
    "many elements of Forwarded": lambda n: [b"Forwarded: " + times(b'for="[::1]";by=_a, ', n)],
    "many values of a cookie": lambda n: [b"Cookie: " + times(b"where=a; ", n)],
    "a cookie of semicolons": lambda n: [b"Cookie: " + times(b";", n)],
    "a cookie of quotes": lambda n: [b"Cookie: where=" + times(b'"', n)],
    "many ranges of media": lambda n: [b"Accept: " + times(b"text/html;q=0,", n)],
    "many parameters": lambda n: [b"Accept: text/html" + times(b";q=1", n)],
    "a weight of noughts": lambda n: [b"Accept: text/html;q=0." + times(b"0", n) + b"x"],
    "a long user agent": lambda n: [b"User-Agent: " + times(b"ab", n)],
    "many expectations": lambda n: [b"Expect: " + times(b"100-continue, ", n)],
    "many pieces of TE": lambda n: [b"Connection: te", b"TE: " + times(b"trailers, ", n)],
}

REQUESTS: dict[str, Make] = {
    **{name: (lambda n, make=make: head(*make(n))) for name, make in FIELDS.items()},  # type: ignore[misc]
    "a long path": lambda n: head(target=b"/" + times(b"a", n)),
    "a path of slashes": lambda n: head(target=times(b"/", n)),
    "a path of segments": lambda n: head(target=times(b"/a", n)),
    "a path of escapes": lambda n: head(target=times(b"/%61", n)),
    "a path of what is no escape": lambda n: head(target=b"/" + times(b"%", n)),
    "a long query": lambda n: head(target=b"/?" + times(b"a=b&", n)),
    "a query of question marks": lambda n: head(target=b"/" + times(b"?", n)),
    "a URL with a long host": lambda n: head(target=b"http://" + times(b"a.", n) + b"b/"),
    "a URL of colons": lambda n: head(target=b"http://" + times(b":", n)),
    "a URL whose scheme does not end": lambda n: head(target=times(b"http:/", n)),
    "a request line of blanks": lambda n: head(line=b"GET /" + times(b" ", n) + b"HTTP/1.1"),
    "a request line of line feeds": lambda n: head(line=b"GET /" + times(b"\n", n) + b" HTTP/1.1"),
    "a long method": lambda n: head(line=times(b"A", n) + b" / HTTP/1.1"),
    "a long version": lambda n: head(line=b"GET / HTTP/1." + times(b"1", n)),
    "a long Host": lambda n: b"GET / HTTP/1.1\r\nHost: " + times(b"a.", n) + b"\r\n\r\n",
    "a Host of colons": lambda n: b"GET / HTTP/1.1\r\nHost: [" + times(b":", n) + b"]:1\r\n\r\n",
    "a Host that is wrong at its end": lambda n: b"GET / HTTP/1.1\r\nHost: " + times(b"~", n) + b"@\r\n\r\n",
}

RESPONSES: dict[str, Make] = {
    **{name: (lambda n, make=make: answer(*make(n))) for name, make in FIELDS.items()},  # type: ignore[misc]
    "a long phrase": lambda n: answer(b"Content-Length: 0", line=b"HTTP/1.1 200 " + times(b"a", n)),
    "a phrase of controls": lambda n: answer(b"Content-Length: 0", line=b"HTTP/1.1 200 " + times(b"\x1b", n)),
    "a phrase of blanks": lambda n: answer(b"Content-Length: 0", line=b"HTTP/1.1 200" + times(b" ", n)),
    "a long status": lambda n: answer(line=b"HTTP/1.1 " + times(b"2", n)),
    "old, with many options": lambda n: answer(b"Connection: " + times(b"a,", n), line=b"HTTP/1.0 200 OK"),
    "many protocols, switched": lambda n: answer(
        b"Connection: upgrade", b"Upgrade: " + times(b"a, ", n), line=b"HTTP/1.1 101 Switching"
    ),
}

BODIES: dict[str, Make] = {
    "chunks of one byte": lambda n: times(b"1\r\na\r\n", n),
    "chunks of one byte with extensions": lambda n: times(b"1;a\r\na\r\n", n),
    "one chunk": lambda n: b"%x\r\n" % n + times(b"a", n) + b"\r\n0\r\n\r\n",
    "one chunk of line ends": lambda n: b"%x\r\n" % n + times(b"\r\n", n) + b"\r\n0\r\n\r\n",
    "a size of noughts": lambda n: times(b"0", n),
    "a size behind blanks": lambda n: b"1" + times(b" ", n) + b"\r\n",
    "an extension": lambda n: b"1;" + times(b"a", n) + b"\r\n",
    "an extension in quotes": lambda n: b'1;a="' + times(b"\\a", n) + b'"\r\n',
    "an extension whose quotes do not end": lambda n: b'1;a="' + times(b'"', n) + b"\r\n",
    "many extensions": lambda n: b"1" + times(b";a=b", n) + b"\x01\r\n",
    "size lines with as many extensions as one may have": lambda n: times(b"1" + b";a" * 500 + b"\r\na\r\n", max(n, 1008)),
    "many trailers": lambda n: b"0\r\n" + times(b"X: y\r\n", n) + b"\r\n",
    "a trailer": lambda n: b"0\r\nX: " + times(b"y", n) + b"\r\n\r\n",
    "a trailer of blanks": lambda n: b"0\r\nX:" + times(b" ", n) + b"\r\n\r\n",
    "a trailer of blanks, and what is refused": lambda n: b"0\r\nX:" + times(b" ", n) + b"\x01\r\n\r\n",
    "a trailer of blanks and letters": lambda n: b"0\r\nX:" + times(b" y", n) + b"\x01\r\n\r\n",
    "a trailer with a long name": lambda n: b"0\r\n" + times(b"x", n) + b"\r\n\r\n",
    "line feeds": lambda n: b"0\r\n" + times(b"\n", n),
    "carriage returns": lambda n: times(b"\r", n),
}

ROUTES = RoutingTable(
    [
        Route(app="default/a", target=Target("default/a"), rules=(Rule(hosts=("a.test", "*.a.test")),)),
        Route(app="default/b", target=Target("default/b"), rules=(Rule(hosts=("*",), paths=("/a/a/a", "/b/" + "c/" * 100)),)),
        Route(
            app="default/c",
            target=Target("default/c"),
            rules=(
                Rule(hosts=("*",), headers=(HeaderMatch("x-a", "1"), HeaderMatch("x-b", "2"))),
                Rule(hosts=("*",), paths=("/a",), headers=(HeaderMatch("x-a"), HeaderMatch("x-b"), HeaderMatch("x-c", "3"))),
            ),
        ),
    ]
)
FRONT = LocalAnswers(
    Route(
        app="default/a",
        target=Target("default/a"),
        static_routes=(
            StaticRoute(
                response=StaticResponse(files=(StaticFile("/index.html", b"a"),)),
                rules=(Rule(paths=("/a",), headers=(HeaderMatch("x-a", "1"), HeaderMatch("x-b"))),),
                user_agents=("*bot*", "a*b*a*c"),
                always=True,
            ),
            StaticRoute(response=StaticResponse(body=b"b"), user_agents=("a" * 100 + "*b",), always=True),
        ),
    )
)
PAGE = Answer(StaticResponse(files=(StaticFile("/index.html", b"a"),)), status=200)


class _Endpoint:
    backend = Backend("192.0.2.1", 80)


READY = [_Endpoint()]
BY_COOKIE: Sessions[_Endpoint] = Sessions("default/a", Affinity(cookie="where"), "key")
BY_HEADER: Sessions[_Endpoint] = Sessions("default/a", Affinity(header="x-a"), "key")


def read_request(data: bytes) -> None:
    """What is done with the head of a request, all of it: parsed, routed, looked into, and written for a backend."""
    with suppress(BadRequest):
        found = parse_request(data)
        use(found)
        forwarded(found)


def use(found: RequestHead) -> None:
    fields = found.match_fields()
    ROUTES.match(found.host, found.path, fields)
    FRONT.at_once(found)
    PAGE.reply(found)
    accepts_html(found)
    BY_COOKIE.find(found, READY)
    BY_COOKIE.fields(found, _Endpoint.backend)
    BY_HEADER.find(found, READY)


def read_response(data: bytes) -> None:
    with suppress(BadResponse):
        passed_on(parse_response(data, b"GET"))


def read_body(data: bytes) -> None:
    reader = ChunkedReader()
    with suppress(ChunkError):
        reader.feed(data)


def read_body_slowly(data: bytes) -> None:
    reader = ChunkedReader()
    with suppress(ChunkError):
        for at in range(len(data)):
            reader.feed(data[at : at + 1])
            if reader.done:
                return


TEXTS: dict[str, Make] = {
    "text": lambda n: times(b"AAAA", n),
    "text that is padded everywhere": lambda n: times(b"AA==", n),
    "padded pieces of some size": lambda n: times(b"A" * 198 + b"==", max(n, 200)),
    "padding only": lambda n: times(b"=", n),
    "what is not text": lambda n: times(b"A", n) + b"*",
}


def read_text(data: bytes) -> None:
    with suppress(ValueError):
        TextDecoder().feed(data)


def read_text_slowly(data: bytes) -> None:
    decoder = TextDecoder()
    with suppress(ValueError):
        for at in range(len(data)):
            decoder.feed(data[at : at + 1])


READERS: list[tuple[str, Callable[[bytes], None], dict[str, Make]]] = [
    ("request", read_request, REQUESTS),
    ("response", read_response, RESPONSES),
    ("body", read_body, BODIES),
    ("body byte by byte", read_body_slowly, BODIES),
    ("gRPC-Web", read_text, TEXTS),
    ("gRPC-Web byte by byte", read_text_slowly, TEXTS),
]


def _cases() -> Iterator[tuple[str, Callable[[bytes], None], Make]]:
    for kind, read, inputs in READERS:
        for name, make in inputs.items():
            yield f"{kind}: {name}", read, make


CASES = list(_cases())


def check(work: Callable[[int], Callable[[], object]]) -> None:
    """Work of some size is linear in that size."""
    fault = grows(work, TIMED)  # first, for it does not wait for what never ends
    assert fault is None, fault
    small, large = (count(work(size)) for size in COUNTED)
    assert large <= MOST_COUNTED * small, f"{large / small:.1f} times as many instructions"


@pytest.mark.parametrize(("read", "make"), [(read, make) for _, read, make in CASES], ids=[name for name, _, _ in CASES])
def test_what_peers_send_is_read_in_linear_time(read: Callable[[bytes], None], make: Make) -> None:
    def work(size: int) -> Callable[[], None]:
        data = make(size)
        return lambda: read(data)

    check(work)


@pytest.mark.parametrize("field", [b"X", b"Cookie"])
def test_the_name_of_a_cookie_is_sought_in_linear_time(field: bytes) -> None:
    """Routes may name cookies as they like, and clients send what nearly is the name at every place."""

    def work(size: int) -> Callable[[], object]:
        marks = Context(Previews(cookie="ab" + "a" * (size // 4))).marks
        found = parse_request(head(field + b": " + times(b"a", size - 100)))
        return lambda: found.may_have(marks)

    assert not grows(work, TIMED)


# -- what has a bound of its own ------------------------------------------------------------------------------------

LISTS: dict[str, Callable[[int], list[bytes]]] = {
    "ranges of media": lambda n: [b"Accept: " + b",".join([b"text/plain"] * n)],
    "empty ranges of media": lambda n: [b"Accept: " + b"," * n],
    "ranges that are refused": lambda n: [b"Accept: " + b",".join([b"text/html;q=0"] * n)],
    "parameters of one range": lambda n: [b"Accept: text/html" + b";q=1" * n],
    "empty parameters of one range": lambda n: [b"Accept: text/html" + b";" * n],
    "other cookies": lambda n: [b"Cookie: " + b"; ".join([b"a=b"] * n)],
    "values of the cookie": lambda n: [b"Cookie: " + b";".join([b"where=a"] * n)],
    "empty values of the cookie": lambda n: [b"Cookie: " + b";where=" * n],
    "pairs that are empty": lambda n: [b"Cookie: " + b";" * n],
    "quotes around the cookie": lambda n: [b"Cookie: where=" + b'"' * n],
}
FEW_ELEMENTS, MANY_ELEMENTS = 200, 2000
"""Of one list. The more are as many as a head has room for, or nearly; a browser sends a dozen."""


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_thousands_costs_no_more_than_one_of_hundreds(name: str) -> None:
    """Only the first elements are looked at, and the others are passed over in one go: not a single instruction more."""

    def work(elements: int) -> Callable[[], None]:
        found = parse_request(head(*LISTS[name](elements)))
        return lambda: use(found)

    work(FEW_ELEMENTS)()  # what is learnt of backends is learnt once
    assert count(work(MANY_ELEMENTS)) == count(work(FEW_ELEMENTS))


# -- what has no bound of its own: the tables that requests are looked up in ----------------------------------------

Asked = tuple[bytes, bytes, list[tuple[bytes, bytes]]]

LOOKUPS: dict[str, Callable[[int], Asked]] = {
    "a long path": lambda n: (b"b.test", b"/b" + times(b"/c", n), []),
    "a path of slashes": lambda n: (b"b.test", times(b"/", n), []),
    "a path of escapes": lambda n: (b"b.test", times(b"/%61", n), []),
    "a long host": lambda n: (times(b"a.", n) + b"a.test", b"/", []),
    "a host of dots": lambda n: (times(b".", n), b"/", []),
    "a host of colons": lambda n: (b"[" + times(b":", n) + b"]", b"/", []),
    "many headers": lambda n: (b"b.test", b"/a", [(b"x-%d" % at, b"1") for at in range(n // 8)]),
    "one header many times": lambda n: (b"b.test", b"/a", [(b"x-a", b"1")] * (n // 8)),
    "one header with many values": lambda n: (b"b.test", b"/a", [(b"x-a", b"%d" % at) for at in range(n // 8)]),
    "some headers many times": lambda n: (b"b.test", b"/a", [(b"x-a", b"1"), (b"x-c", b"3")] * (n // 16)),
    "a long user agent": lambda n: (b"b.test", b"/a", [(b"user-agent", times(b"ab", n))]),
    "a user agent many times": lambda n: (b"b.test", b"/a", [(b"user-agent", b"ab")] * (n // 8)),
}
STATICS = StaticRoutes(
    (
        StaticRoute(response=StaticResponse(), rules=(Rule(headers=(HeaderMatch("x-a", "1"), HeaderMatch("x-b", "2"))),)),
        StaticRoute(response=StaticResponse(), rules=(Rule(paths=("/a/a",)),), user_agents=("a*b*a*c", "*" + "ab" * 50 + "c*")),
    )
)


@pytest.mark.parametrize("name", LOOKUPS)
def test_routes_are_found_in_linear_time(name: str) -> None:
    def work(size: int) -> Callable[[], object]:
        host, path, headers = LOOKUPS[name](size)
        return lambda: (
            ROUTES.match(host, path, headers),
            STATICS.find(host, path, headers),
            explain(ROUTES, host, path, headers),
            normal_host(host),
        )

    check(work)


# -- whole connections, byte by byte --------------------------------------------------------------------------------

CONNECTIONS: dict[str, tuple[bool, Make]] = {
    "a client's head": (True, lambda n: b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + times(b"y", n)),
    "a client's head of line ends": (True, lambda n: b"GET / HTTP/1.1\r\nHost: a.test" + times(b"\r\nX: y", n)),
    "a client's empty lines": (True, lambda n: times(b"\r\n", n)),
    "a client's chunks": (True, lambda n: head(b"Transfer-Encoding: chunked") + times(b"1\r\na\r\n", n)),
    "a client's trailers": (True, lambda n: head(b"Transfer-Encoding: chunked") + b"0\r\n" + times(b"X: y\r\n", n)),
    "a backend's head": (False, lambda n: b"HTTP/1.1 200 OK\r\nX: " + times(b"y", n)),
    "a backend's head of line ends": (False, lambda n: b"HTTP/1.1 200 OK" + times(b"\r\nX: y", n)),
    "a backend's chunks": (False, lambda n: answer(b"Transfer-Encoding: chunked") + times(b"1\r\na\r\n", n)),
    "a backend's trailers": (False, lambda n: answer(b"Transfer-Encoding: chunked") + b"0\r\n" + times(b"X: y\r\n", n)),
    "a backend's interim responses": (False, lambda n: times(b"HTTP/1.1 102 \r\n\r\n", n)),
}


@pytest.mark.parametrize("name", CONNECTIONS)
async def test_what_comes_byte_by_byte_is_read_in_linear_time(name: str) -> None:
    of_client, make = CONNECTIONS[name]

    def work(size: int) -> Callable[[], None]:
        data = make(size)

        def feed() -> None:
            memory = MemoryProxy(connections=1)
            peer = client = memory.connect()
            if not of_client:
                client.feed(head())
                peer = memory.backends[0]
            for at in range(len(data)):
                peer.feed(data[at : at + 1])
            client.abort()

        return feed

    check(work)


def test_what_is_not_linear_is_reported() -> None:
    """By its time where it is in C, and by its instructions where they are too few to take time."""

    def in_c(size: int) -> Callable[[], object]:
        text = b"a" * size
        return lambda: [text[at:] + text[:at] for at in range(0, size, 4)]

    def in_python(size: int) -> Callable[[], object]:
        text = b"a" * (size // 256)
        return lambda: [(x, y) for x in text for y in text]

    with pytest.raises(AssertionError, match=r"times as long|more than"):  # the latter where the machine is very busy
        check(in_c)
    with pytest.raises(AssertionError, match=r"times as (many instructions|long)"):
        check(in_python)
