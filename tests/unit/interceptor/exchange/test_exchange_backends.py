"""Which backend an exchange takes: connections that are a client's own, sessions, bounds of connections and requests."""

from __future__ import annotations

import pytest

from fleet.routing.route import Affinity, ColdStart, Protection
from interceptor.backends.endpoint import MAX_DIALS, Slot
from tests.support.playbook import WARM, play


def test_an_authenticated_connection_is_its_clients_own() -> None:
    stage = play(
        """
> backends a+
> request GET 0 personal
< a request GET 0
> answer a 200 5 personal
< client head 200 5 end
< a release
< client done
> request GET
< a request GET 0
> answer a 200
< client head 200 5 end
< a release
< client done
"""
    )
    assert stage.client.own_backend is stage.servers["a"]
    assert stage.servers["a"] not in stage.servers["a"].endpoint.spare
    stage.request("GET")
    assert stage.outputs == ["a request GET 0"]
    assert stage.servers["a"].endpoint.own == set()


AUTHENTICATED = """
> backends a+
> request GET 0 personal
< a request GET 0
> answer a 200 5 personal
< client head 200 5 end
< a release
< client done
"""


def test_an_authenticated_connection_that_has_ended_is_not_used() -> None:
    stage = play(AUTHENTICATED)
    stage.servers["a"].ended = True
    stage.request("GET")
    assert stage.outputs == ["a close", "dial a 5"]


def test_an_authenticated_connection_to_a_backend_that_may_not_be_chosen_is_closed() -> None:
    stage = play(AUTHENTICATED)
    stage.backends("a", "b+")
    stage.sets["a"].endpoints[0].set_aside(0.0)
    stage.request("GET")
    assert stage.outputs == ["a close", "b request GET 0"]
    assert stage.servers["a"].endpoint.own == set()


def test_connections_that_are_opened_at_once_have_a_bound() -> None:
    stage = play("> backends a\n" + "> request GET\n< dial a 5\n" * MAX_DIALS)
    stage.request("GET")
    assert stage.outputs == []
    assert stage.state() == f"WAITING held=1 in_flight={MAX_DIALS} load={MAX_DIALS}"


def test_where_too_many_connections_are_opened_another_backend_is_taken() -> None:
    stage = play("> backends a b+")
    opening, other = stage.sets["a"].endpoints
    opening.dialing = MAX_DIALS
    Slot(other)  # so that the first is the less loaded one
    stage.request("GET")
    assert stage.outputs == ["b request GET 0"]
    assert stage.state() == "SENT held=0 in_flight=1 load=2"


def test_one_that_speaks_for_others_has_none() -> None:
    stage = play("> backends a+")
    stage.client.trusted = True
    stage.request("GET", "0", "personal", "forwarded")
    stage.answer("a", "200", "5", "personal")
    assert stage.outputs[-2:] == ["a close", "client done"]


@pytest.mark.parametrize("name", ["a", "b"])
def test_requests_of_a_session_go_to_its_backend_though_another_has_less_to_do(name: str) -> None:
    stage = play("> backends a+++ b+++", affinity=Affinity(header="x-session"))
    assert stage.app.sessions is not None
    stage.request("GET", "0", "of=0")
    first = stage.outputs.pop()[0]
    mine = "0"
    while first != name:  # the ring decides which session is whose
        mine = f"{mine}0"
        stage.request("GET", "0", f"of={mine}")
        first = stage.outputs.pop()[0]
    stage = play("> backends a+++ b+++", affinity=Affinity(header="x-session"))
    for _ in range(3):
        stage.request("GET", "0", f"of={mine}")
    assert [told[0] for told in stage.outputs] == [name] * 3
    stage.outputs.clear()
    stage.request("GET", "0")
    assert stage.outputs[0][0] != name, "without a session, the one that has less to do"


def test_too_many_requests_of_an_application() -> None:
    play(WARM + "> request GET\n< client reply 503 max_requests 1", protection=Protection(max_requests=1))


def test_no_room_to_wait() -> None:
    play("> request GET\n< client reply 503 overflow 1", cold_start=ColdStart(max_held=0))


def test_a_backend_that_has_all_it_may_have() -> None:
    play(WARM + "> request GET\n= WAITING held=1 in_flight=1 load=1", protection=Protection(backend_concurrency=1))
