"""Requests that wait: their order, their number, their session, their fallback, and why they get no backend."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.routing.route import Affinity, ColdStart, Protection, Scaling, StaticResponse, StaticRoute, Target
from interceptor.backends.endpoint import MAX_DIALS
from interceptor.core.messages import Request
from tests.support.playbook import WARM, Stage, play

ONE_AT_FIRST: dict[str, Any] = {"scaling": Scaling(concurrency=1)}
FALLBACK: dict[str, Any] = {"cold_start": ColdStart(fallback=Target("default/fallback"))}
TWO_WAIT = """
> request GET
> request GET
> backends a++
< dial a 5
= WAITING held=1 in_flight=1 load=1
"""

SCRIPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a new request does not overtake one that waits": (TWO_WAIT + """
> request GET
= WAITING held=2 in_flight=1 load=1
""", ONE_AT_FIRST),
    "nor one that would not be counted": (TWO_WAIT + """
> new_route static
> request GET
= WAITING held=2 in_flight=1 load=1
""", ONE_AT_FIRST),
    "but one that has lost its backend does not wait behind new ones": (TWO_WAIT + """
> refuses
= WAITING held=2 in_flight=0 load=0
""", ONE_AT_FIRST),
    "requests that wait count for the bound of all": ("""
> request GET
> request GET
< client reply 503 max_requests 1
""", {"protection": Protection(max_requests=1)}),
    "requests that wait and others count together": (WARM + """
> request GET
= WAITING held=1 in_flight=1 load=1
> request GET
< client reply 503 max_requests 1
""", {"protection": Protection(max_requests=2, backend_concurrency=1)}),
    "and no more than these": (WARM + """
> request GET
= WAITING held=1 in_flight=1 load=1
> request GET
= WAITING held=2 in_flight=1 load=1
""", {"protection": Protection(max_requests=3, backend_concurrency=1)}),
    "the route went, and nothing is ready": ("""
> remove
> request GET
< client reply 503 removed
= DONE held=0 in_flight=0 load=0
""", {}),
    "the route went while a connection was opened": ("""
> backends a
> request GET
< dial a 5
> remove
> refuses
< client reply 503 removed
= DONE held=0 in_flight=0 load=0
""", {}),
    "backends that have no room": (WARM + """
> request GET
= WAITING held=1 in_flight=1 load=1
> at 20
< client reply 503 busy 1
""", {"protection": Protection(backend_concurrency=1), "timeouts": {"response_header": 99}}),
    "backends that take no connection": ("""
> backends a
> request GET
< dial a 5
> refuses
> at 20
< client reply 502 connect
""", {}),
    "backends that do not even refuse one": ("""
> backends a
> request GET
< dial a 5
> refuses timeout
> at 20
< client reply 504 connect_timeout
""", {}),
    "which have gone since": ("""
> backends a
> request GET
< dial a 5
> refuses timeout
> backends
> at 20
< client reply 504 readiness_timeout
""", {}),
    "a fallback is not used before its time": ("""
> at 7
> fallback f+
> request GET
> at 26
> at 27
< f request GET 0
""", FALLBACK),
    "a fallback without a limit of its own": ("""
> at 7
> fallback f+
> request GET
> at 36
> at 37
< f request GET 0
""", {**FALLBACK, "timeouts": {"readiness": 0}}),
    "a request that was counted does not go to the fallback apart": ("""
> backends a
> fallback f+
> request GET
< dial a 5
> never no_service
> backends
> refuses
= WAITING held=1 in_flight=0 load=0
""", FALLBACK),
}  # fmt: skip


@pytest.mark.parametrize(("script", "route"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_waits(script: str, route: dict[str, Any]) -> None:
    play(script, routes={"static": {"static_routes": (StaticRoute(StaticResponse()),)}}, **route)


def test_a_fallback_is_waited_for_two_seconds_after_the_readiness_limit() -> None:
    stage = play("> at 7\n> fallback f\n> request GET", **FALLBACK)
    (endpoint,) = stage.sets["fallback"].endpoints
    endpoint.dialing = MAX_DIALS
    for second in ("27", "28", "28.9"):
        stage.at(second)
        assert stage.outputs == []
    stage.at("29")
    assert stage.outputs == ["dial f 5"]


def _owner(stage: Stage, session: str) -> str:
    """The backend that the session belongs to."""
    assert stage.app.sessions is not None
    stage.open("GET", "0", f"of={session}")
    head: Request = stage.current.head
    found = stage.app.sessions.find(head, stage.sets["a"].ready)
    assert found is not None
    return found.backend.host


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_request_that_waits_goes_to_the_backend_of_its_session(name: str) -> None:
    other = play("> backends a b", affinity=Affinity(header="x-session"))
    mine = next(session for session in ("0" * number for number in range(1, 99)) if _owner(other, session) == name)
    stage = play(f"> request GET 0 of={mine}\n" * 3, affinity=Affinity(header="x-session"))
    stage.backends("a", "b")
    assert stage.outputs == [f"dial {name} 5"] * 3


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_request_waits_for_the_backend_of_its_session(name: str) -> None:
    stage = play("> backends a b", affinity=Affinity(header="x-session"))
    mine = next(session for session in ("0" * number for number in range(1, 99)) if _owner(stage, session) == name)
    endpoint = next(each for each in stage.sets["a"].endpoints if each.backend.host == name)
    endpoint.dialing = MAX_DIALS
    stage.request("GET", "0", f"of={mine}")
    stage.pump()
    assert (stage.outputs, stage.state()) == ([], "WAITING held=1 in_flight=0 load=0")
    endpoint.dialing = 0
    stage.pump()
    assert stage.outputs == [f"dial {name} 5"]


PERSONAL = "> backends a+\n> request GET 0 personal\n< a request GET 0"


def test_an_authenticated_connection_is_not_kept_for_a_client_that_leaves() -> None:
    stage = play(PERSONAL)
    stage.client.persists = False
    stage.answer("a", "200", "5", "personal")
    assert stage.outputs == ["client head 200 5 end", "a release", "a close", "client done"]
    assert stage.client.own_backend is None


def test_an_authenticated_connection_is_not_kept_to_a_backend_that_has_gone() -> None:
    stage = play(PERSONAL)
    stage.backends()
    stage.answer("a", "200", "5", "personal")
    assert stage.outputs == ["client head 200 5 end", "a release", "a close", "client done"]
    assert stage.client.own_backend is None
