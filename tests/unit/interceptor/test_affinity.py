"""Sessions keep their backend, the same at every interceptor, and few move when backends are added or removed."""

from __future__ import annotations

from collections import Counter

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Affinity
from interceptor.app.affinity import Sessions
from interceptor.http1.request import RequestHead, parse_request


class Endpoint:
    def __init__(self, number: int) -> None:
        self.backend = Backend(f"10.0.0.{number}", 8080)


def request(*fields: str) -> RequestHead:
    return parse_request("\r\n".join(["GET / HTTP/1.1", "Host: a.test", *fields, "", ""]).encode())


def by_cookie(app: str = "default/a", key: str = "secret", max_age: float | None = None) -> Sessions[Endpoint]:
    return Sessions(app, Affinity(cookie="where", max_age=max_age), key)


def by_header(app: str = "default/a") -> Sessions[Endpoint]:
    return Sessions(app, Affinity(header="X-User"), "")


def told(sessions: Sessions[Endpoint], head: RequestHead, endpoint: Endpoint) -> str:
    """The fields added to the response."""
    return "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in sessions.fields(head, endpoint.backend))


def name(sessions: Sessions[Endpoint], endpoint: Endpoint) -> str:
    line = told(sessions, request(), endpoint)
    assert line.startswith("Set-Cookie: where=")
    return line.partition("where=")[2].partition(";")[0]


@pytest.fixture
def ready() -> list[Endpoint]:
    return [Endpoint(number) for number in range(1, 11)]


# -- by cookie ----------------------------------------------------------------------------------------------------


def test_the_cookie_leads_back_at_any_interceptor(ready: list[Endpoint]) -> None:
    here, there = by_cookie(), by_cookie()
    for endpoint in ready:
        head = request(f"Cookie: a=b; where={name(here, endpoint)}; c=d")
        assert there.find(head, list(reversed(ready))) is endpoint
        assert here.find(head, ready) is endpoint
        assert here.fields(head, endpoint.backend) == ()


def test_a_cookie_says_nothing_of_addresses_and_is_for_one_application(ready: list[Endpoint]) -> None:
    own = name(by_cookie(), ready[0])
    assert "10" not in told(by_cookie(), request(), ready[0]).replace(own, "")
    assert own != name(by_cookie(key="other"), ready[0])
    assert own != name(by_cookie(app="default/b"), ready[0])
    assert by_cookie(app="default/b").find(request(f"Cookie: where={own}"), ready) is None


def test_a_lost_session_gets_a_new_cookie(ready: list[Endpoint]) -> None:
    sessions = by_cookie()
    head = request(f"Cookie: where={name(sessions, ready[0])}")
    assert sessions.find(head, ready[1:]) is None
    assert told(sessions, head, ready[1]).startswith("Set-Cookie: where=" + name(sessions, ready[1]))
    assert sessions.find(head, ready) is ready[0]


@pytest.mark.parametrize("cookie", ["", "where", "where=", "where=nonsense", "elsewhere=x", ";;=;where=x;"])
def test_without_a_known_cookie_it_is_a_new_session(ready: list[Endpoint], cookie: str) -> None:
    assert by_cookie().find(request(f"Cookie: {cookie}"), ready) is None
    assert by_cookie().find(request(), ready) is None


def test_of_several_cookies_one_that_is_known_counts(ready: list[Endpoint]) -> None:
    sessions = by_cookie()
    known = name(sessions, ready[3])
    assert sessions.find(request(f'Cookie: where=old; where="{known}"'), ready) is ready[3]
    assert sessions.find(request("Cookie: where=old", f"Cookie: where={known}"), ready) is ready[3]


def test_the_cookie_is_for_browsers_and_not_for_scripts(ready: list[Endpoint]) -> None:
    assert told(by_cookie(), request(), ready[0]).endswith("; Path=/; HttpOnly; SameSite=Lax\r\n")
    assert told(by_cookie(max_age=3600.0), request(), ready[0]).endswith("; SameSite=Lax; Max-Age=3600\r\n")


# -- by header ----------------------------------------------------------------------------------------------------


def owners(ready: list[Endpoint], count: int = 2000) -> dict[str, str]:
    sessions = by_header()
    found = {str(user): sessions.find(request(f"x-user: {user}"), ready) for user in range(count)}
    return {user: endpoint.backend.host for user, endpoint in found.items() if endpoint is not None}


def test_every_interceptor_finds_the_same_one(ready: list[Endpoint]) -> None:
    assert owners(ready) == owners(list(reversed(ready)))


def test_sessions_are_spread(ready: list[Endpoint]) -> None:
    shares = Counter(owners(ready).values())
    assert len(shares) == len(ready)
    assert min(shares.values()) > 2000 / 10 / 2
    assert max(shares.values()) < 2000 / 10 * 2


def test_only_the_sessions_of_a_lost_backend_move(ready: list[Endpoint]) -> None:
    before, after = owners(ready), owners(ready[1:])
    assert all(after[user] == owner for user, owner in before.items() if owner != ready[0].backend.host)


def test_a_new_backend_takes_its_share_and_no_more(ready: list[Endpoint]) -> None:
    before, after = owners(ready), owners([*ready, Endpoint(99)])
    moved = [user for user, owner in before.items() if after[user] != owner]
    assert {after[user] for user in moved} == {"10.0.0.99"}
    assert len(moved) < 2000 / 11 * 2


def test_without_the_header_or_without_backends_there_is_no_session(ready: list[Endpoint]) -> None:
    assert by_header().find(request(), ready) is None
    assert by_header().find(request("x-user:"), ready) is None
    assert by_header().find(request("x-user: 1"), []) is None
    assert by_header().fields(request(), ready[0].backend) == ()
