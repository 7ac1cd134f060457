"""What a route says of its exchanges: methods, headers, added fields, half-closed clients."""

from __future__ import annotations

import pytest

from fleet.routing.route import HeaderMatch, Rule
from tests.support.playbook import WARM, play


@pytest.mark.parametrize("answers", [False, True])
def test_a_half_closed_client_is_answered_if_the_route_says_so(answers: bool) -> None:
    stage = play(WARM, answer_half_closed=answers)
    assert stage.exchange is not None
    assert stage.exchange.answers_half_closed == answers


SERVER_TIMING = WARM + "> answer a 200\n< client head 200 5 end +Server-Timing\n< a release\n< client done"
METHODS = "> backends a+\n> request POST\n< refused no_route\n< client reply 404 no_route\n> request GET\n< a request GET 0"
HEADERS = """
> backends a+
> request GET
< refused no_route
< client reply 404 no_route
> request GET 0 of=me
< a request GET 0
"""


def test_the_exchange_is_unframed_as_its_client_is() -> None:
    stage = play("> backends a+")
    stage.client.unframed = True
    stage.request("GET")
    sink = stage.servers["a"].sink
    assert sink is not None
    assert sink.unframed


def test_fields_that_the_route_adds() -> None:
    play(SERVER_TIMING, server_timing=True)


def test_routes_by_methods_and_by_headers() -> None:
    play(METHODS, rules=(Rule(hosts=("a.test",), methods=("GET",)),))
    play(HEADERS, rules=(Rule(hosts=("a.test",), headers=(HeaderMatch("x-session"),)),))
