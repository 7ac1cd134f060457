"""The phases of an exchange: every transition of the table, and inputs that must have no effect."""

from __future__ import annotations

import pytest

from fleet.routing.route import Affinity, ColdStart, HeaderMatch, Protection, Rule, Target
from interceptor.backends.endpoint import MAX_DIALS
from interceptor.exchange.phases import NAMES, NEXT
from tests.support.playbook import WARM, play
from tests.support.strict import ways

COLD = """
> request GET
= WAITING held=1 in_flight=0 load=0
> backends a
< dial a 5
= DIALING held=0 in_flight=1 load=1
"""

SCRIPTS = {
    "a warm request and its whole answer": WARM + """
> answer a 200
< client head 200 5 end
< a release
< client done
= DONE held=0 in_flight=0 load=0
""",
    "an answer in parts": WARM + """
> answer a 200 5 begun
< client head 200 5
= ANSWERING held=0 in_flight=1 load=1
> data a 7
< client data 7
> bulk_answer a 4 100000
< client splice 4 of 100000
> end a
< a release
< client done
= DONE held=0 in_flight=0 load=0
""",
    "an answer to a client that is slow": WARM + """
> answer a 200 5 begun
< client head 200 5
> congested client
< a pause
> free client
< a resume
""",
    "a connection that ends with its answer": WARM + """
> answer a 200 5 close
< client head 200 5 end
< a abort
< client done
""",
    "an interim response changes nothing": WARM + """
> interim a 103
< client interim 103
= SENT held=0 in_flight=1 load=1
""",
    "nothing rests: a connection is opened": """
> backends a
> request POST
< dial a 5
= DIALING held=0 in_flight=1 load=1
> connected
< a request POST 0
= SENT held=0 in_flight=1 load=1
""",
    "a request that is sent once looks at its connection first": """
> backends a-
> request POST
< a close
< dial a 5
""",
    "one that may be sent twice does not": """
> backends a-
> request GET
< a request GET 0
""",
    "a cold start": COLD + """
> connected
< a request GET 0
> answer a 200
< client head 200 5 end +X-KEDA-HTTP-Cold-Start
< a release
< client done
""",
    "a refused connection, and another backend": """
> backends a
> request GET
< dial a 5
> backends a b+
> refuses
< b request GET 0
= SENT held=0 in_flight=1 load=1
""",
    "a refused connection, and back to waiting": COLD + """
> refuses
= WAITING held=1 in_flight=0 load=0
> client_lost
= DONE held=0 in_flight=0 load=0
""",
    "no sockets of our own": COLD + """
> refuses sockets
< client reply 503 sockets 1
= DONE held=0 in_flight=0 load=0
""",
    "lost unanswered: sent again on a new connection": WARM + """
> lost a
< dial a 5
= DIALING held=0 in_flight=1 load=1
> connected
< a2 request GET 0
""",
    "lost unanswered: what else is idle may be closed as well": """
> backends a++
> request GET
< a2 request GET 0
> lost a2
< dial a 5
""",
    "an answer to a client that has not read an earlier one": WARM + """
> answer a 200 5 begun
< client head 200 5
> congested client
< a pause
> end a
< a release
< client done
> request GET
< a request GET 0
> answer a 200 5 begun
< client head 200 5
< a pause
""",
    "lost unanswered: sent again to another backend": """
> backends a+
> request GET
< a request GET 0
> backends a b
> lost a
< dial b 5
""",
    "lost unanswered with no backend left: waits": WARM + """
> backends
> lost a
= WAITING held=1 in_flight=0 load=0
""",
    "lost by four backends: given up": WARM + """
> lost a
< dial a 5
> connected
< a2 request GET 0
> lost a2
< dial a 5
> connected
< a3 request GET 0
> lost a3
< dial a 5
> connected
< a4 request GET 0
> lost a4 reset
< client reply 502 backend
""",
    "lost with what may be sent once": """
> backends a+
> request POST 5
< a request POST 0
> body 5 end
< a data 5
> lost a
< client reply 502 backend
""",
    "lost with what may be sent once, which the backend has not processed": """
> backends a+
> reports_unprocessed a
> request POST 10
< a request POST 0
> body 5
< a data 5
> body 5 end
< a data 5
> lost a unprocessed
< dial a 5
> connected
< a2 request POST 10
""",
    "not processed, but not kept either: the upstream never says so before": """
> backends a+
> request POST 5
< a request POST 0
> body 5 end
< a data 5
> lost a unprocessed
< client reply 502 backend
""",
    "not processed by four backends: given up": """
> backends a+
> request POST
< a request POST 0
> lost a unprocessed
< dial a 5
> connected
< a2 request POST 0
> lost a2 unprocessed
< dial a 5
> connected
< a3 request POST 0
> lost a3 unprocessed
< dial a 5
> connected
< a4 request POST 0
> lost a4 unprocessed
< client reply 502 backend
""",
    "a malformed answer is an answer": WARM + """
> lost a malformed
< client reply 502 bad_response
""",
    "lost in the middle of its answer: cut": WARM + """
> answer a 200 5 begun
< client head 200 5
> lost a
< client abort
= DONE held=0 in_flight=0 load=0
""",
    "the client leaves while it waits": """
> request GET
> client_lost
= DONE held=0 in_flight=0 load=0
> backends a
""",
    "the client leaves while a connection is opened": COLD + """
> client_lost
= DONE held=0 in_flight=0 load=0
> connected
< a kept
""",
    "the client leaves before the answer": WARM + """
> client_lost
< a abort
= DONE held=0 in_flight=0 load=0
""",
    "the client leaves during the answer": WARM + """
> answer a 200 5 begun
< client head 200 5
> client_lost
< a abort
= DONE held=0 in_flight=0 load=0
""",
    "an upgrade": """
> backends a+
> request GET 0 upgrade
< a request GET 0
> switched a
< client upgrade 2
= DONE held=0 in_flight=1 load=1 tunnels=1
""",
    "an upgrade before the end of the request": """
> backends a+
> request POST 10 upgrade
< a request POST 0
> switched a
< a abort
< client reply 502 bad_response
""",
    "no route": """
> request GET 0 b.test
< refused no_route
< client reply 404 no_route
= DONE held=0 in_flight=0 load=0
""",
    "no table yet": """
> no_table
> request GET
< refused no_table
< client reply 503 no_table 1
= DONE held=0 in_flight=0 load=0
""",
    "a client that reads nothing while its request waits, and while a connection is opened": """
> request GET
> congested client
> free client
> backends a
< dial a 5
> congested client
> free client
""",
    "connections that ended are tried until one is open": """
> backends a--
> request POST
< a2 close
< a close
< dial a 5
""",
    "the route goes while it waits": """
> request GET
> remove
< client reply 503 removed
""",
    "the route goes while a backend has it, which is lost": WARM + """
> remove
> backends
> lost a
< client reply 503 removed
""",
    "no backend can ever come": """
> never no_service
> request GET
< client reply 502 no_service
""",
    "the application cannot start": """
> trouble crashes
> request GET
< client reply 503 failing 5
""",
    "what it is told after its end changes nothing": WARM + """
> answer a 200
< client head 200 5 end
< a release
< client done
> client_lost
> at 1000
= DONE held=0 in_flight=0 load=0
""",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_life(script: str) -> None:
    play(script)


def test_every_transition_of_the_table_is_made() -> None:
    went: set[tuple[str, str]] = set()
    for script in SCRIPTS.values():
        stage = play(script)
        went |= set() if stage.exchange is None else stage.exchange.went
    assert went == ways(NEXT, NAMES)


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
    assert stage.told == ["a request GET 0"]
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
    assert stage.told == ["a close", "dial a 5"]


def test_an_authenticated_connection_to_a_backend_that_may_not_be_chosen_is_closed() -> None:
    stage = play(AUTHENTICATED)
    stage.backends("a", "b+")
    stage.sets["a"].endpoints[0].set_aside(0.0)
    stage.request("GET")
    assert stage.told == ["a close", "b request GET 0"]
    assert stage.servers["a"].endpoint.own == set()


def test_connections_that_are_opened_at_once_have_a_bound() -> None:
    stage = play("> backends a\n" + "> request GET\n< dial a 5\n" * MAX_DIALS)
    stage.request("GET")
    assert stage.told == []
    assert stage.state() == f"WAITING held=1 in_flight={MAX_DIALS} load={MAX_DIALS}"


def test_where_too_many_connections_are_opened_another_backend_is_taken() -> None:
    stage = play("> backends a b+")
    opening, other = stage.sets["a"].endpoints
    opening.dialing = MAX_DIALS
    other.take()  # so that the first is the less loaded one
    stage.request("GET")
    assert stage.told == ["b request GET 0"]
    assert stage.state() == "SENT held=0 in_flight=1 load=2"


@pytest.mark.parametrize("answers", [False, True])
def test_a_half_closed_client_is_answered_if_the_route_says_so(answers: bool) -> None:
    stage = play(WARM, answer_half_closed=answers)
    assert stage.exchange is not None
    assert stage.exchange.answers_half_closed == answers


def test_what_is_counted_of_a_cold_start() -> None:
    stage = play(COLD.replace("= WAITING held=1 in_flight=0 load=0", "> at 3") + "> connected\n< a request GET 0")
    assert stage.app.stats.held.sum == 3
    assert stage.app.stats.fallbacks == 0


def test_what_is_counted_of_a_fallback() -> None:
    stage = play(FALLBACKS["too late"], cold_start=FALLBACK)
    assert stage.app.stats.fallbacks == 1


def test_one_that_speaks_for_others_has_none() -> None:
    stage = play("> backends a+")
    stage.client.trusted = True
    stage.request("GET", "0", "personal", "forwarded")
    stage.answer("a", "200", "5", "personal")
    assert stage.told[-2:] == ["a close", "client done"]


RETRIES = {
    "a request that may be sent twice": WARM + "> may_retry a\n< yes",
    "one that is sent once": """
> backends a+
> request POST 5
< a request POST 0
> body 5 end
< a data 5
> may_retry a
< no
""",
    "a body, before its end and after it": """
> backends a+
> request PUT 10
< a request PUT 0
> body 4
< a data 4
> may_retry a
< no
> body 6 end
< a data 6
> may_retry a
< yes
""",
    "a body that was not kept": """
> backends a+
> request PUT 70000
< a request PUT 0
> body 60000
< a data 60000
> body 10000 end
< a data 10000
> may_retry a
< no
""",
    "the last attempt": WARM + """
> lost a
< dial a 5
> connected
< a2 request GET 0
> lost a2
< dial a 5
> connected
< a3 request GET 0
> may_retry a3
< yes
> lost a3
< dial a 5
> connected
< a4 request GET 0
> may_retry a4
< no
""",
}  # fmt: skip


@pytest.mark.parametrize("script", RETRIES.values(), ids=RETRIES.keys())
def test_what_a_codec_may_give_up_for_lost(script: str) -> None:
    play(script)


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


def test_a_body_is_not_kept_longer_than_it_may_be_sent_again() -> None:
    stage = play("> backends a+\n> request PUT 4\n< a request PUT 0\n> body 4 end\n< a data 4")
    assert stage.exchange is not None
    assert stage.exchange.body is not None
    stage.answer("a", "200", "5", "begun")
    assert stage.exchange.body is None


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


@pytest.mark.parametrize("name", ["a", "b"])
def test_requests_of_a_session_go_to_its_backend_though_another_has_less_to_do(name: str) -> None:
    stage = play("> backends a+++ b+++", affinity=Affinity(header="x-session"))
    assert stage.app.sessions is not None
    stage.request("GET", "0", "of=0")
    first = stage.told.pop()[0]
    mine = "0"
    while first != name:  # the ring decides which session is whose
        mine = f"{mine}0"
        stage.request("GET", "0", f"of={mine}")
        first = stage.told.pop()[0]
    stage = play("> backends a+++ b+++", affinity=Affinity(header="x-session"))
    for _ in range(3):
        stage.request("GET", "0", f"of={mine}")
    assert [told[0] for told in stage.told] == [name] * 3
    stage.told.clear()
    stage.request("GET", "0")
    assert stage.told[0][0] != name, "without a session, the one that has less to do"


FALLBACK = ColdStart(fallback=Target("default/fallback"))
FALLBACKS = {
    "no backend ever, and none of the fallback": "> never no_service\n> request GET\n< client reply 502 no_service",
    "no backend any more: it was counted, so it waits": """
> backends a+
> fallback f+
> request GET
< a request GET 0
> never no_service
> backends
> lost a
= WAITING held=1 in_flight=0 load=0
> at 20
< dial f 5
""",
    "in time": "> fallback f\n> request GET\n> backends a\n< dial a 5",
    "too late": "> fallback f+\n> request GET\n> at 20\n< f request GET 0\n= SENT held=0 in_flight=1 load=1\n> backends a+",
    "none ready": "> request GET\n> at 20\n< client reply 504 readiness_timeout",
    "lost, and gone": """
> fallback f+
> request GET
> at 20
< f request GET 0
> fallback
> lost f
< client reply 504 readiness_timeout
""",
    "lost again": "> fallback f+\n> request GET\n> at 20\n< f request GET 0\n> lost f\n< dial f 5",
    "no backend ever": """
> fallback f+
> never no_service
> request GET
< f request GET 0
= SENT held=0 in_flight=0 load=1
> lost f
< dial f 5
> connected
< f2 request GET 0
> answer f2 200
< client head 200 5 end
< f2 release
< client done
> counts
< counted GET 200: 1 in 0
< counted fallbacks: 1
""",
}


@pytest.mark.parametrize("script", FALLBACKS.values(), ids=FALLBACKS.keys())
def test_fallback(script: str) -> None:
    play(script, cold_start=FALLBACK)


def test_a_fallback_to_which_many_connections_are_opened_is_waited_for_a_little() -> None:
    stage = play("> fallback f\n> request GET", cold_start=FALLBACK)
    (endpoint,) = stage.sets["fallback"].endpoints
    endpoint.dialing = MAX_DIALS
    for second in ("20", "21", "21.9"):
        stage.at(second)
        assert stage.told == []
    stage.at("22")
    assert stage.told == ["dial f 5"]


def test_too_many_requests_of_an_application() -> None:
    play(WARM + "> request GET\n< client reply 503 max_requests 1", protection=Protection(max_requests=1))


def test_no_room_to_wait() -> None:
    play("> request GET\n< client reply 503 overflow 1", cold_start=ColdStart(max_held=0))


def test_a_backend_that_has_all_it_may_have() -> None:
    play(WARM + "> request GET\n= WAITING held=1 in_flight=1 load=1", protection=Protection(backend_concurrency=1))
