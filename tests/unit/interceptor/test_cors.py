"""Requests from pages of other origins: preflights, and the fields of other responses."""

from __future__ import annotations

import pytest

from fleet.routing import cors as routes
from fleet.routing.route import Route, Rule, StaticResponse, Target
from interceptor.app.cors import Cors
from interceptor.app.local_answers import LocalAnswers
from interceptor.core.messages import Fields
from interceptor.core.replies import Reply
from interceptor.http1.request import RequestHead, parse_request
from interceptor.http1.response import parse_response

PAGE = "https://app.example.com"


def request(origin: str = PAGE, method: str = "GET", *fields: str) -> RequestHead:
    lines = [f"{method} / HTTP/1.1", "Host: a.test", *([f"Origin: {origin}"] if origin else []), *fields, "", ""]
    return parse_request("\r\n".join(lines).encode())


def preflight(origin: str = PAGE) -> RequestHead:
    return request(origin, "OPTIONS", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-grpc-web")


def allowed(fields: Fields) -> str | None:
    return next((value.decode() for name, value in fields if name == b"Access-Control-Allow-Origin"), None)


def test_a_preflight_is_answered() -> None:
    cors = Cors(routes.Cors((PAGE,), ("PUT", "POST"), ("x-a", "x-b"), max_age=600.0, allow_credentials=True))
    reply = cors.preflight(preflight())
    assert reply is not None
    assert (reply.status, reply.body) == (204, b"")
    assert dict(reply.fields) == {
        b"Access-Control-Allow-Origin": PAGE.encode(),
        b"Vary": b"Origin",
        b"Access-Control-Allow-Methods": b"PUT, POST",
        b"Access-Control-Allow-Headers": b"x-a, x-b",
        b"Access-Control-Allow-Credentials": b"true",
        b"Access-Control-Max-Age": b"600",
    }
    refused = cors.preflight(preflight("https://other.example.com"))
    assert refused is not None
    assert (refused.status, allowed(refused.fields)) == (403, None)


@pytest.mark.parametrize(
    "head", [request(), request("", "OPTIONS", "Access-Control-Request-Method: PUT"), request(PAGE, "OPTIONS")]
)
def test_what_is_no_preflight(head: RequestHead) -> None:
    assert Cors(routes.Cors((PAGE,))).preflight(head) is None


def test_without_lists_grpc_web_works() -> None:
    cors = Cors(routes.Cors(("*",)))
    reply = cors.preflight(preflight())
    assert reply is not None
    fields = dict(reply.fields)
    assert (fields[b"Access-Control-Allow-Origin"], fields[b"Access-Control-Allow-Methods"]) == (b"*", b"GET, HEAD, POST")
    assert {b"x-grpc-web", b"grpc-timeout", b"content-type"} <= set(fields[b"Access-Control-Allow-Headers"].split(b", "))
    told = dict(cors.fields(request()))
    assert told[b"Access-Control-Expose-Headers"] == b"grpc-status, grpc-message, grpc-status-details-bin"
    assert b"Vary" not in told
    assert cors.fields(request("")) == ()


@pytest.mark.parametrize(
    ("pattern", "origin", "fits"),
    [
        (PAGE, PAGE, True),
        (PAGE, PAGE + ".evil.test", False),
        (PAGE, "http://app.example.com", False),
        ("https://*.example.com", PAGE, True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "https://evil.test/.example.com", False),
        ("https://*.example.com", "https://evil.test:1.example.com", False),
        ("https://*.example.com", "https://u@a.example.com", False),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("*", "null", True),
        (PAGE, "null", False),
    ],
)
def test_which_origins_fit(pattern: str, origin: str, fits: bool) -> None:
    found = allowed(Cors(routes.Cors((pattern,))).fields(request(origin)))
    assert found == (("*" if pattern == "*" else origin) if fits else None)


def test_responses_vary_by_origin_whether_it_is_allowed_or_not() -> None:
    cors = Cors(routes.Cors((PAGE,)))
    for head in request(), request("https://other.test"), request(""):
        assert (b"Vary", b"Origin") in cors.fields(head)


def test_a_backend_that_knows_cors_itself_is_not_contradicted() -> None:
    cors = Cors(routes.Cors((PAGE,)))
    own = parse_response(b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\nContent-Length: 0\r\n\r\n", b"GET")
    plain = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"GET")
    assert cors.of_response(request(), own) == ()
    assert allowed(cors.of_response(request(), plain)) == PAGE


def test_own_replies_can_be_read() -> None:
    cors = Cors(routes.Cors((PAGE,)))
    reply = Reply(503, ((b"Retry-After", b"1"),), b"busy", "busy")
    told = cors.of_reply(request(), reply)
    assert (allowed(told.fields), told.status, told.body, told.reason) == (PAGE, 503, b"busy", "busy")
    for said in cors.preflight(preflight()), cors.preflight(preflight("https://other.test")):
        assert said is not None
        assert cors.of_reply(preflight(), said) is said


def test_a_preflight_goes_before_maintenance() -> None:
    route = Route(app="d/a", target=Target("d/a"), rules=(Rule(),), maintenance=StaticResponse())
    answers = LocalAnswers(route, Cors(routes.Cors((PAGE,))))
    answer = answers.at_once(preflight())
    assert answer is not None
    assert (answer.reply.status, answer.reason, answer.wakes) == (204, "cors", False)
    maintained = answers.at_once(request())
    assert maintained is not None
    assert maintained.reply.status == 503
    assert LocalAnswers(Route(app="d/a", target=Target("d/a")), Cors(routes.Cors((PAGE,)))).first
