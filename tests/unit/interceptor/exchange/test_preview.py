"""Requests that are seen at little cost to be for the application itself: never one that its fields or its host send
elsewhere."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.routing.context import Context, Source
from fleet.routing.previews import HOST_PATTERNS, Copy, Previews
from fleet.routing.route import Rule, Target
from fleet.routing.table import RoutingTable
from interceptor.core.messages import Request
from interceptor.exchange.preview import Chosen, choose, is_for_base
from interceptor.http1.request import parse_request
from interceptor.http2.heads import StreamRequest, _Known
from tests.support.full import examples
from tests.support.loopback import APP, route

COPIES = (Copy("f1", f"{APP}--f1", Target(f"{APP}--f1")),)
ALL = Previews(baggage="preview", cookie="preview", hosts=HOST_PATTERNS, copies=COPIES)
RULES = (Rule(("a.test",)), Rule(("b.test",), ("/api",)), Rule(("*.c.test",)))
TABLE = RoutingTable([replace(route(), previews=ALL, rules=RULES)])


class Base:
    """What is asked of an application."""

    name, route = APP, TABLE.apps[APP]

    def __init__(self, previews: Previews) -> None:
        self.context = Context(previews)
        self.marks = self.context.marks


BASE = cast("Any", Base(ALL))
Pairs = list[tuple[bytes, bytes]]


def http1(host: bytes, fields: Pairs, target: bytes = b"/?baggage:") -> Request:
    lines = [b"GET %b HTTP/1.1" % target, b"Host: " + host, *(b"%b: %b" % field for field in fields), b"", b""]
    return parse_request(b"\r\n".join(lines))


def http2(host: bytes, fields: Pairs) -> Request:
    known = tuple((name.lower(), value) for name, value in fields)
    return StreamRequest(b"GET", b"/preview?baggage:", b"/preview", host, known=_Known(known))


def http1_of_its_name(host: bytes, fields: Pairs) -> Request:
    """Whose target has the name of the cookie, so that the head is looked at in full."""
    return http1(host, fields, b"/preview?baggage:")


MAKERS = pytest.mark.parametrize("make", [http1, http1_of_its_name, http2])


@MAKERS
@pytest.mark.parametrize(
    ("host", "fields", "itself"),
    [
        (b"a.test", [], True),
        (b"a.test", [(b"Cookie", b"session=1"), (b"X-Uber-Ctx-Key", b"f1"), (b"Uber-Ctx", b"f1")], True),
        (b"a.test", [(b"Uber-Ctx-Key", b"f1")], False),
        (b"a.test", [(b"UBER-CTX-KEY", b"")], False),
        (b"a.test", [(b"bAGGAGE", b"a=1")], False),
        (b"a.test", [(b"Cookie", b"session=1; preview=f1")], False),
        (b"a.test", [(b"Cookie", b"session=1; preview =f1")], False),
        # Hosts that are not as the route has them are looked at.
        (b"A.test", [], False),
        (b"a.test:80", [], False),
        (b"f1.a.test", [], False),
        (b"b.test", [], False),
        (b"x.c.test", [], False),
    ],
)
def test_which_requests_are_for_the_application_itself(make: Any, host: bytes, fields: Pairs, itself: bool) -> None:
    assert is_for_base(TABLE, BASE, make(host, fields)) is itself


def test_what_is_not_asked_for_is_not_looked_for() -> None:
    base = cast("Any", Base(Previews(header="X-Own", copies=COPIES)))
    fields = [(b"Uber-Ctx-Key", b"f1"), (b"baggage", b"preview=f1"), (b"cookie", b"preview=f1")]
    for make in (http1, http2):
        assert is_for_base(TABLE, base, make(b"a.test", fields))
        assert not is_for_base(TABLE, base, make(b"a.test", [(b"x-own", b"f1")]))


def _case(name: bytes) -> st.SearchStrategy[bytes]:
    ups = st.lists(st.booleans(), min_size=len(name), max_size=len(name))
    return ups.map(lambda up: bytes(ord(chr(each).upper()) if high else each for each, high in zip(name, up, strict=True)))


NAMES = st.sampled_from([b"uber-ctx-key", b"uber_ctx_key", b"baggage", b"cookie", b"x-other", b"ctx-key", b"uber-ctx-key2"])
VALUES = st.sampled_from(
    [b"f1", b"preview=f1", b"a=1; preview=f1", b"a=1, preview = f1;x", b"", b"xpreview=f1", b"uber-ctx-key: f1"]
)
FIELDS = st.lists(st.tuples(NAMES.flatmap(_case), VALUES), max_size=4)
HOSTS = st.sampled_from([b"a.test", b"f1.a.test", b"f1--a.test", b"b.test", b"f1.b.test", b"x.c.test", b"f2.a.test"])


@MAKERS
@settings(max_examples=examples(400), deadline=None)
@given(host=HOSTS, fields=FIELDS)
def test_nothing_is_overlooked(make: Any, host: bytes, fields: Pairs) -> None:
    head = make(host, fields)
    if is_for_base(TABLE, BASE, head):
        chosen = choose(TABLE, BASE, head, trusted=False)
        assert isinstance(chosen, Chosen)
        assert (chosen.app, chosen.edit, chosen.base_host, chosen.cookie) == (APP, None, b"", ())
        assert BASE.context.read(head.match_fields()).source is Source.NONE
