"""What was matched is what the other side reads: h11 judges every head that goes on, and what it says of the one that came.

The proxy chooses a route by one reading of a request; its backend acts on its own. Two readings of the same bytes are how one
request is made to look like another, so an independent reader must find in what is forwarded the very method, target, host,
fields and body that were matched, and one message. The same holds for answers. Every run tries the same heads; with
WEIR_FULL_SIZE=1 there are two million.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

import h11
import pytest

from interceptor.core.errors import BadRequest, BadResponse
from interceptor.http1.fields import CHUNKED
from interceptor.http1.request import RequestHead, parse_request
from interceptor.http1.response import UNTIL_CLOSE, ResponseHead, parse_response
from tests.fuzz.mutate import inserted, mutants
from tests.fuzz.test_heads import LENGTH_LIMIT, REQUEST_SEEDS, RESPONSE_SEEDS, whole_head
from tests.support.full import FULL
from tests.support.heads import AUTHORITY, forwarded, passed_on
from tests.support.judge import Disagreement, Judged, agreed_requests, judged_answer
from tests.wire.proxy_backend import BackendPeer, RawBackend
from tests.wire.proxy_rig import eventually

REQUESTS = 1_400_000 if FULL else 35_000
RESPONSES = 600_000 if FULL else 15_000
SHARES = 10 if FULL else 1
"""So many tests share them, each with a seed of its own."""

pytestmark = pytest.mark.timeout(600 if FULL else 120)

BODY = b"hello"
NEXT = b"GET /next HTTP/1.1\r\nHost: next.test\r\n\r\n"
"""Follows every request: it must be read as what it is, and not as a part of the one before."""

OURS = frozenset(
    b"host connection content-length transfer-encoding upgrade expect te keep-alive proxy-connection proxy-authorization "
    b"http2-settings x-forwarded-for x-forwarded-proto x-forwarded-host max-forwards "
    b"forwarded x-forwarded-port x-forwarded-prefix x-forwarded-scheme x-forwarded-server x-forwarded-ssl x-real-ip "
    b"x-envoy-original-path".split()
)
"""Fields that the proxy reads, removes or writes: each has its own check. The others go on as they came."""
OURS_IN_ANSWERS = frozenset(
    b"connection content-length transfer-encoding upgrade keep-alive proxy-connection proxy-authenticate date "
    b"x-keda-http-cold-start".split()
)
PINNED = frozenset((*OURS, b"", b"close", b"forwarded", b"authorization", b"cookie"))
"""What the Connection field of a request may name without effect."""

CONTROLS = [b"\n", b"\r", b"\x00", b"\t", b" ", b"\x0b", b"\x0c", b"\x7f", b"\x85", b"\xa0", b"\r\n"]
"""What has been taken for a line's end, or for a blank, by one reader and not by another."""
INSERTED = [*CONTROLS, *(control + b"X:" for control in CONTROLS), b"\r\nX: y\r\n", b"\nHost: b\n"]
"""Each alone, and each with what would make a field of what follows."""
GRAMMAR = [
    b"GET /metrics?a=b HTTP/1.1\r\nHost: a.test\r\nX-A: b c\r\nConnection: x-b\r\nX-B: d\r\n\r\n",
    b"POST http://b.test/x HTTP/1.1\r\nhost: a.test:80\r\nContent-Length: 5\r\nAccept:*/*\r\n\r\n",
    b"PUT / HTTP/1.0\r\nHost: [::1]\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: keep-alive\r\n\r\n",
    b"DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET /b HTTP/1.1\r\nX-A: b c\r\nHost: a.test\r\nAccept: */*\r\nConnection: keep-alive\r\nX-B: d\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: a.test\r\nX-A: b c\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
]
GRAMMAR_OF_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b c\r\nConnection: x-b\r\nX-B: d\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
    b"HTTP/1.0 200\r\nServer: old\r\nConnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
]


def fields_of(data: bytes, ours: frozenset[bytes], *, pinned: frozenset[bytes] = PINNED) -> Counter[tuple[bytes, bytes]]:
    """The fields that a head has besides those of the proxy, by the letter of RFC 9112: lines, one colon, no blanks around."""
    lines = [line.partition(b":") for line in data.split(b"\r\n")[1:] if line]
    pairs = [(name.lower(), value.strip(b" \t")) for name, _, value in lines]
    named = {
        option.strip(b" \t").lower() for name, value in pairs if name == b"connection" for option in value.split(b",")
    } - pinned
    return Counter(pair for pair in pairs if pair[0].replace(b"_", b"-") not in ours and pair[0] not in named)


def body_of(length: int) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) if length == CHUNKED else b"x" * min(max(length, 0), LENGTH_LIMIT)


def content_of(length: int) -> bytes:
    return BODY if length == CHUNKED else body_of(length)


def shortened(wire: bytes, length: int) -> bytes:
    """A head with a length for which a body can be made up."""
    long = b"Content-Length: %d\r\n" % length
    return wire.replace(long, b"Content-Length: %d\r\n" % LENGTH_LIMIT) if length > LENGTH_LIMIT else wire


# -- requests -----------------------------------------------------------------------------------------------------


def check_request(data: bytes, head: RequestHead) -> None:
    """What h11 reads of what goes on is what was matched."""
    wire = shortened(forwarded(head), head.length)
    message, following = agreed_requests(wire + body_of(head.length) + NEXT)
    assert (following.method, following.target, following.all(b"host")) == (b"GET", b"/next", [b"next.test"])
    assert (message.method, message.target) == (head.method, head.target)
    assert len(message.all(b"host")) == 1
    assert message.all(b"host") == [head.host or AUTHORITY]
    assert message.body == content_of(head.length)
    assert Counter(pair for pair in message.fields if pair[0].replace(b"_", b"-") not in OURS) == fields_of(data, OURS)
    check_forwarding(message, head)


def check_forwarding(message: Judged, head: RequestHead) -> None:
    assert [value.lower() for value in message.all(b"transfer-encoding")] == [b"chunked"] * (head.length == CHUNKED)
    assert message.all(b"upgrade") == ([head.upgrade] if head.upgrade else [])
    options = [option.strip() for value in message.all(b"connection") for option in value.lower().split(b",")]
    assert set(options) <= {b"upgrade", b"te"}
    assert (b"upgrade" in options) == (head.upgrade is not None)
    assert message.all(b"te") in ([], [b"trailers"])
    for name in (b"x-forwarded-for", b"x-forwarded-proto"):
        assert len(message.all(name)) == 1
    assert len(message.all(b"x-forwarded-host")) in ((1,) if head.host else (0, 1))
    assert not [name for name, _ in message.fields if b"_" in name and name.replace(b"_", b"-") in OURS]


def matched(head: RequestHead) -> Counter[tuple[bytes, bytes]]:
    return Counter(pair for pair in head.match_fields() if pair[0].replace(b"_", b"-") not in OURS)


def requests(share: int) -> Iterator[bytes]:
    """Heads, whole: first what is inserted at every place, then chance."""
    first = inserted(GRAMMAR, INSERTED) if share == 0 else iter(())
    made = chain(first, mutants(100 + share, [*REQUEST_SEEDS, *GRAMMAR], REQUESTS))
    return map(whole_head, islice(made, REQUESTS // SHARES))


@pytest.mark.parametrize("share", range(SHARES))
def test_a_backend_reads_what_was_matched(share: int) -> None:
    taken = 0
    for data in requests(share):
        try:
            head = parse_request(data)
        except BadRequest:
            continue
        taken += 1
        try:
            check_request(data, head)
            missed = fields_of(data, OURS) - matched(head)
            assert not missed, f"routing does not see {missed}"
        except (AssertionError, Disagreement) as error:
            raise AssertionError(f"{data!r} went on as {forwarded(head)!r}") from error
    assert taken > REQUESTS // SHARES / 10


@pytest.mark.parametrize("share", range(SHARES))
def test_h11_would_have_taken_what_came_for_the_same(share: int) -> None:
    """Of requests as they came. h11 is stricter nowhere than the proxy: were it so, the kind would be listed here, and why."""
    kinds: Counter[str] = Counter()
    examples: dict[str, bytes] = {}
    for data in requests(share):
        try:
            head = parse_request(data)
        except BadRequest:
            continue
        kind = difference(data, head)
        if kind:
            kinds[kind] += 1
            examples.setdefault(kind, data)
    assert not examples, f"{kinds}\n{examples}"


def difference(data: bytes, head: RequestHead) -> str:
    """What h11 says against a head as it came, without what it quotes of it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        return re.sub(r"[:(].*", "", str(error), flags=re.DOTALL)
    if not isinstance(event, h11.Request):
        return "not a whole head"
    if event.method != head.method:
        return "another method"
    if event.target != head.target and not event.target.lower().startswith((b"http://", b"https://")):
        return "another target"
    fields = Counter((bytes(name), bytes(value)) for name, value in event.headers)
    same = {
        name: value
        for name, value in fields_of(data, frozenset()).items()
        if name[0] not in (b"transfer-encoding", b"connection")
    }
    return "other fields" if any(fields[pair] != times for pair, times in same.items()) else ""


# -- answers ------------------------------------------------------------------------------------------------------


def check_answer(data: bytes, head: ResponseHead, method: bytes) -> None:
    """What h11 reads of what goes on to a client is what was parsed."""
    wire = shortened(passed_on(head), head.length)
    more = b"" if head.length == UNTIL_CLOSE else b"HTTP/1.1 200 OK\r\n\r\n"
    content = BODY if head.length == UNTIL_CLOSE else content_of(head.length)
    message, rest = judged_answer(
        wire + (BODY if head.length == UNTIL_CLOSE else body_of(head.length)) + more, method, upgrade=head.status == 101
    )
    assert rest == more
    assert message.status == head.status
    assert message.body == content
    ours = fields_of(data, OURS_IN_ANSWERS, pinned=frozenset())
    assert Counter(pair for pair in message.fields if pair[0].replace(b"_", b"-") not in OURS_IN_ANSWERS) == ours
    assert len(message.all(b"content-length")) + len(message.all(b"transfer-encoding")) <= 1


def answers(share: int) -> Iterator[bytes]:
    first = inserted(GRAMMAR_OF_ANSWERS, INSERTED) if share == 0 else iter(())
    made = chain(first, mutants(200 + share, [*RESPONSE_SEEDS, *GRAMMAR_OF_ANSWERS], RESPONSES))
    return map(whole_head, islice(made, RESPONSES // SHARES))


@pytest.mark.parametrize("share", range(SHARES))
def test_a_client_reads_what_was_parsed(share: int) -> None:
    taken = 0
    for turn, data in enumerate(answers(share)):
        method = (b"GET", b"HEAD", b"POST")[turn % 3]
        try:
            head = parse_response(data, method)
        except BadResponse:
            continue
        taken += 1
        try:
            check_answer(data, head, method)
        except (AssertionError, Disagreement) as error:
            raise AssertionError(f"{data!r} went on as {passed_on(head)!r}") from error
    assert taken > RESPONSES // SHARES / 10


# -- the judge itself ---------------------------------------------------------------------------------------------

TWO_WAYS = {
    "a line feed in the target": b"GET /a\nX: HTTP/1.1\r\nHost: a\r\n\r\n",
    "a line that ends with a line feed": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "an end that only one reader sees": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "two kinds of framing": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length in a list": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
    "a control character": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    "a form feed": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x0cb\r\n\r\n",
    "an extension of a chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;a\r\n\r\n",
}


@pytest.mark.parametrize("data", TWO_WAYS.values(), ids=TWO_WAYS)
@pytest.mark.parametrize("before", [b"", NEXT * 200], ids=["first", "later"])
async def test_a_backend_of_the_tests_tells_what_it_should_not_have_got(data: bytes, before: bytes) -> None:
    with pytest.raises(Disagreement):
        agreed_requests(before + data)
    backend = RawBackend(BackendPeer.read_to_end)
    await backend.start()
    _, writer = await asyncio.open_connection(*backend.address)
    writer.write(before + data)
    writer.write_eof()
    await eventually(lambda: backend.peers and backend.peers[0].ended.is_set())
    writer.close()
    await backend.close()
    assert [type(error) for error in backend.errors] == [Disagreement]


def test_what_follows_a_switch_is_not_judged() -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    assert len(agreed_requests(upgrade + b"\x00\n\n", switched=True)) == 1
    assert len(agreed_requests(upgrade + NEXT)) == 2
    assert len(agreed_requests(NEXT + upgrade + NEXT, switched=True)) == 2


def test_bodies_of_any_size_are_read_to_their_end() -> None:
    large = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    chunks = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n"
    assert [len(message.body) for message in agreed_requests(large + chunks + NEXT)] == [300_000, 20_000, 0]
    assert len(agreed_requests(NEXT + large[:-1])) == 1


_FORWARDING = b"X-Forwarded-For: a\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"
_WRITTEN = b"POST /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\n" + _FORWARDING + b"Content-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("was", "written"),
    [
        (b"POST", b"PUT"),
        (b"/a ", b"/b "),
        (b"Host: a", b"Host: b"),
        (b"X-A: b", b"X-A: c"),
        (b"X-A: b", b"X-A: b\r\nX-C: d"),
        (b"X-A: b\r\n", b""),
        (b"X-Forwarded-For: a", b"X-Forwarded-For: a\r\nX-Forwarded-For: b"),
        (b"Length: 5", b"Length: 4"),
        (b"Length: 5", b"Length: 45"),
        (b"Content-Length: 5\r\n", b""),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"X-A: b", b"X-A: b\r\nTransfer_Encoding: chunked"),
    ],
)
def test_what_is_written_otherwise_than_it_was_matched_is_reported(
    was: bytes, written: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"POST /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Length: 5\r\n\r\n"
    head = parse_request(data)
    monkeypatch.setitem(globals(), "forwarded", lambda _head: _WRITTEN)
    check_request(data, head)
    monkeypatch.setitem(globals(), "forwarded", lambda _head: _WRITTEN.replace(was, written))
    with pytest.raises((AssertionError, Disagreement, ValueError)):
        check_request(data, head)
