"""The local answers of a route, and their order."""

from __future__ import annotations

from fleet.routing.route import ColdStart, Placeholder, Route, Rule, StaticResponse, StaticRoute, Target
from interceptor.app.local_answers import UNCOUNTED, LocalAnswers
from interceptor.http1.request import RequestHead, parse_request


def front(**fields: object) -> LocalAnswers:
    return LocalAnswers(Route(app="default/a", target=Target("default/a"), **fields))  # type: ignore[arg-type]


def head(path: str = "/", *fields: str, method: str = "GET") -> RequestHead:
    lines = [f"{method} {path} HTTP/1.1", "Host: a.test", *fields]
    return parse_request("\r\n".join(lines).encode() + b"\r\n\r\n")


def static(path: str, body: bytes = b"", *, always: bool = False) -> StaticRoute:
    return StaticRoute(response=StaticResponse(body=body), rules=(Rule(paths=(path,)),), always=always)


BROWSER = head("/", "Accept: text/html")
PLAIN = ColdStart(placeholder=Placeholder())


def test_a_plain_route_has_nothing_to_ask() -> None:
    assert (front().first, front().asleep) == (False, False)


def test_each_is_asked_only_where_it_can_answer() -> None:
    assert (front(maintenance=StaticResponse()).first, front(maintenance=StaticResponse()).asleep) == (True, False)
    assert (front(static_routes=(static("/a"),)).first, front(static_routes=(static("/a"),)).asleep) == (True, True)
    assert (front(cold_start=PLAIN).first, front(cold_start=PLAIN).asleep) == (False, True)


def test_maintenance_comes_before_static_routes() -> None:
    answer = front(maintenance=StaticResponse(), static_routes=(static("/", always=True),)).at_once(head())
    assert answer is not None
    assert (answer.reason, answer.wakes, answer.reply.status) == ("maintenance", False, 503)


def test_a_static_route_comes_before_the_placeholder() -> None:
    both = front(static_routes=(static("/a", b"static"),), cold_start=PLAIN)
    answer = both.while_asleep(head("/a"))
    assert answer is not None
    assert (answer.reason, answer.wakes, answer.reply.body) == ("static", False, b"static")
    answer = both.while_asleep(head("/b"))
    assert answer is not None
    assert (answer.reason, answer.wakes) == ("placeholder", True)


def test_the_first_static_route_that_fits_keeps_later_ones_from_answering() -> None:
    routes = front(static_routes=(static("/a"), static("/", b"always", always=True)))
    assert routes.at_once(head("/a")) is UNCOUNTED
    answer = routes.at_once(head("/b"))
    assert answer is not None
    assert answer.reply.body == b"always"


def test_the_answer_is_that_of_the_route_found_even_where_two_are_equal() -> None:
    routes = front(static_routes=(static("/a", b"1", always=True), static("/b", b"1", always=True)))
    for path in ("/a", "/b"):
        answer = routes.at_once(head(path))
        assert answer is not None
        assert answer.reply.body == b"1"


def test_browsers_only() -> None:
    cold = front(cold_start=ColdStart(placeholder=Placeholder(browsers_only=True)))
    assert cold.while_asleep(BROWSER) is not None
    assert cold.while_asleep(head("/", "Accept: text/html", method="HEAD")) is not None
    for other in (
        head(),
        head("/", "Accept: */*"),
        head("/", "Accept: text/html", method="POST"),
        head("/", "Accept: text/html", "Connection: upgrade", "Upgrade: websocket"),
    ):
        assert cold.while_asleep(other) is None


def test_overflow() -> None:
    full = front(cold_start=ColdStart(placeholder=Placeholder(), overflow_placeholder=True))
    assert full.while_asleep(BROWSER) is None
    assert full.on_overflow(BROWSER) is not None
    assert full.on_overflow(head()) is not None
    assert front(cold_start=PLAIN).on_overflow(BROWSER) is None
    browsers = front(cold_start=ColdStart(placeholder=Placeholder(browsers_only=True), overflow_placeholder=True))
    assert browsers.on_overflow(BROWSER) is not None
    assert browsers.on_overflow(head()) is None
