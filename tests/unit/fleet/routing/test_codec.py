"""Tables survive encoding and decoding, and invalid bytes raise our own errors."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.routing import codec
from fleet.routing.codec import CodecError, RouteError, decode_json, decode_yaml, encode_json, encode_yaml
from fleet.routing.route import (
    Affinity,
    ColdStart,
    HeaderMatch,
    Placeholder,
    Protection,
    RateTarget,
    Route,
    Rule,
    Scaling,
    StaticFile,
    StaticResponse,
    StaticRoute,
    Target,
    Timeouts,
)
from fleet.routing.table import RoutingTable
from tests.support.full import examples

FULL = Route(
    "shop/web",
    Target("shop/web", "http"),
    (Rule(("web.test", "*.web.test"), ("/", "/ü"), (HeaderMatch("X-Env", "1"), HeaderMatch("x-any"))), Rule()),
    Scaling(10.0, RateTarget(5.0, 30.0, 0.5), 20.0),
    Timeouts(0.0, 1.0, 2.0, 3.0, 4.0),
    created=1.25,
    static_routes=(
        StaticRoute(StaticResponse(body=b"\x00\xff"), (Rule(paths=("/healthz",)),), ("kube-probe/*",), always=True),
        StaticRoute(StaticResponse(files=(StaticFile("/index.html", b"<p>", "text/html"),))),
    ),
    cold_start=ColdStart(
        Placeholder(StaticResponse(503, (("X-Why", "asleep"),)), browsers_only=True), Target("shop/sorry", 80), 5, 1000, True
    ),
    maintenance=StaticResponse(body=b""),
    affinity=Affinity(cookie="weir", max_age=60.0),
    protection=Protection(5, 100, "/healthz"),
    server_timing=True,
    answer_half_closed=False,
)
LEAST = Route("shop/api", Target("shop/api", 80))


@pytest.mark.parametrize(("encode", "decode"), [(encode_json, decode_json), (encode_yaml, decode_yaml)])
@pytest.mark.parametrize("routes", [[], [LEAST], [FULL, LEAST]], ids=["empty", "least", "full"])
def test_tables_come_back_as_they_went(encode: object, decode: object, routes: list[Route]) -> None:
    table = RoutingTable(routes)
    assert callable(encode)
    assert callable(decode)
    again = decode(encode(table))
    assert (again.routes, again.version) == (table.routes, table.version)


def test_equal_tables_have_equal_bytes() -> None:
    assert encode_json(RoutingTable([FULL, LEAST])) == encode_json(RoutingTable([LEAST, FULL]))


def test_json_is_what_people_would_write() -> None:
    assert json.loads(encode_json(RoutingTable([LEAST]))) == {
        "routes": [{"app": "shop/api", "target": {"service": "shop/api", "port": 80}}]
    }


@pytest.mark.parametrize("said", [None, False, True])
def test_a_no_is_not_the_same_as_nothing_said(said: bool | None) -> None:
    """Fields left to the interceptor's settings are not encoded, so that existing tables keep their version."""
    table = RoutingTable([msgspec.structs.replace(LEAST, answer_half_closed=said)])
    (route,) = decode_json(encode_json(table)).routes
    assert route.answer_half_closed is said
    assert (b"answer_half_closed" in encode_json(table)) is (said is not None)
    assert (table.version == "2eecc7e8fa9143b92213cb8acd866009") is (said is None)


def test_whole_numbers_and_comments_do_in_yaml() -> None:
    text = b"""
    routes:  # all of them
    - app: shop/web
      target: {service: shop/web, port: 80}
      rules: [{hosts: [web.test], headers: [{name: x-env}]}]
      scaling: {concurrency: 10}
    """
    (route,) = decode_yaml(text).routes
    assert route == Route(
        "shop/web", Target("shop/web", 80), (Rule(("web.test",), headers=(HeaderMatch("x-env"),)),), Scaling(10.0)
    )


def test_fields_of_newer_writers_are_skipped() -> None:
    data = b'{"newer":1,"routes":[{"app":"shop/api","newer":{},"target":{"service":"shop/api","port":80,"newer":[]}}]}'
    assert decode_json(data).routes == (LEAST,)
    assert decode_yaml(data).routes == (LEAST,)


WRONG = [
    (b"{}", ""),
    (b"[]", ""),
    (b"", ""),
    (b'{"routes": 1}', "routes"),
    (b'{"routes": [{"app": "a/b", "target": {"service": 5}}]}', "routes[0].target.service"),
    (b'{"routes": [{"app": "a/b", "target": {"service": "a/b"}, "rules": [{"hosts": "x"}]}]}', "routes[0].rules[0].hosts"),
    (b'{"routes": [{"app": "a/b"}]}', "routes[0]"),
]


@pytest.mark.parametrize("decode", [decode_json, decode_yaml])
@pytest.mark.parametrize(("data", "field"), WRONG)
def test_wrong_documents_are_refused_with_the_field(decode: object, data: bytes, field: str) -> None:
    assert callable(decode)
    with pytest.raises(CodecError) as raised:
        decode(data)
    assert raised.value.field == field
    assert str(raised.value).startswith(field)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [b"routes: [", b"routes: !!python/object:os.system {}", b"\xff", b"a: b: c"])
def test_bad_yaml_is_one_line(data: bytes) -> None:
    with pytest.raises(CodecError, match="not YAML") as raised:
        decode_yaml(data)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [b"{", b'{"routes": [}', b"\xff", b"[" * 100_000, b'{"routes":[]} x'])
def test_bad_json_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_json(data)


def test_bad_bytes_inside_a_route_are_refused_with_its_place() -> None:
    with pytest.raises(CodecError) as raised:
        decode_json(b'{"routes": [{"app": "\xff", "target": {"service": "a/b"}}]}')
    assert raised.value.field == "routes[0]"


@pytest.mark.parametrize("decode", [decode_json, decode_yaml])
def test_routes_that_are_not_valid_are_refused_by_name(decode: object) -> None:
    assert callable(decode)
    with pytest.raises(RouteError) as raised:
        decode(b'{"routes": [{"app": "a/b", "target": {"service": "a/b"}, "rules": [{"paths": ["x"]}]}]}')
    assert (raised.value.app, raised.value.field) == ("a/b", "rules[0].paths[0]")


def test_documents_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_ROUTES", 1)
    assert decode_json(encode_json(RoutingTable([LEAST]))).routes == (LEAST,)
    with pytest.raises(CodecError, match="2 routes, at most 1"):
        decode_json(encode_json(RoutingTable([LEAST, FULL])))


def _mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """A document with some bytes replaced."""
    edits = st.lists(st.tuples(st.integers(0, len(data) - 1), st.binary(max_size=8)), max_size=4)

    def apply(changes: list[tuple[int, bytes]]) -> bytes:
        changed = data
        for position, new in changes:
            changed = changed[:position] + new + changed[position + 1 :]
        return changed

    return edits.map(apply)


@settings(max_examples=examples(500), deadline=None)
@given(st.binary(max_size=64) | _mutated(encode_json(RoutingTable([FULL, LEAST]))))
def test_any_bytes_are_a_table_or_our_error(data: bytes) -> None:
    for decode in (decode_json, decode_yaml):
        try:
            table = decode(data)
        except (CodecError, RouteError):
            continue
        assert decode_json(encode_json(table)).version == table.version
