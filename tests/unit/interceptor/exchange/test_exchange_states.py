"""What each input does in each phase of an exchange: the phase after it, and the calls to both sides."""

from __future__ import annotations

import pytest

from fleet.routing.route import StaticResponse
from tests.support.codec_playbook import cells
from tests.support.playbook import Stage, play

SENT = "> backends a+\n> request POST 10\n< a request POST 0\n"
DIALING = "> backends a\n> request POST 10\n< dial a 5\n"
WAITING = "> request POST 10\n< client pause\n"

BEGINNINGS = {
    "NEW": "> backends a\n> open POST 10",
    "WAITING": WAITING,
    "DIALING": DIALING,
    "SENT": SENT,
    "SENT whole": SENT + "> body 10 end\n< a data 10",
    "ANSWERING": SENT + "> answer a 200 5 begun\n< client head 200 5",
    "DONE": SENT + "> answer a 413\n< client head 413 5 end\n< a abort\n< client done",
    "DONE waiting": WAITING + "> client_lost",
    "DONE dialing": DIALING + "> client_lost",
    "DONE dialing late": DIALING + "> at 100\n< client reply 504 request_timeout",
    "DONE dialing broken": DIALING + "> broken\n< refuse",
}

HOLDS = {
    "NEW": "held=0 in_flight=0 load=0",
    "WAITING": "held=1 in_flight=0 load=0",
    "DIALING": "held=0 in_flight=1 load=1",
    "SENT": "held=0 in_flight=1 load=1",
    "ANSWERING": "held=0 in_flight=1 load=1",
    "DONE": "held=0 in_flight=0 load=0",
}
"""What is counted in each phase."""


def came_of(state: str, comes: str, after: str = "") -> str:
    """The phase after an input, and the calls to both sides."""
    stage = play(BEGINNINGS[state] + after, routes={"closed": {"maintenance": StaticResponse()}})
    phase = stage.state().split(maxsplit=1)[0]
    assert state.startswith(phase)
    stage.outputs.clear()
    verb, *words = comes.split(" ")
    getattr(stage, verb)(*words)
    return _result(stage)


def _result(stage: Stage) -> str:
    phase, holds = stage.state().split(" ", 1)
    assert holds == HOLDS[phase]
    exchange = stage.current
    assert phase != "DONE" or (exchange.wait, exchange.attempt) == (None, None)
    return f"{phase} {', '.join(stage.outputs)}".rstrip()


OF_THE_BODY = """
                 | body 4             | body 4 end         | body 20000             | bulk 4 6
NEW              | NEW                | NEW                | NEW client pause       | NEW
WAITING          | WAITING            | WAITING            | WAITING                | WAITING
DIALING          | DIALING            | DIALING            | DIALING client pause   | DIALING
SENT             | SENT a data 4      | SENT a data 4      | SENT a data 20000      | SENT a splice 4 of 6
ANSWERING        | ANSWERING a data 4 | ANSWERING a data 4 | ANSWERING a data 20000 | ANSWERING a splice 4 of 6
DONE             | DONE               | DONE               | DONE                   | DONE
DONE waiting     | DONE               | DONE               | DONE                   | DONE
DONE dialing     | DONE               | DONE               | DONE                   | DONE
"""

OF_THE_CLIENT = """
                 | broken               | client_lost     | congested client  | at 1000
NEW              | NEW refuse           | NEW             | NEW               | NEW
WAITING          | DONE refuse          | DONE            | WAITING           | DONE client reply 504 readiness_timeout
DIALING          | DONE refuse          | DONE            | DIALING           | DONE client reply 504 request_timeout
SENT             | DONE a abort, refuse | DONE a abort    | SENT a pause      | DONE a abort, client reply 504 request_timeout
SENT whole       | -                    | DONE a abort    | SENT a pause      | DONE a abort, client reply 504 request_timeout
ANSWERING        | DONE a abort, cut    | DONE a abort    | ANSWERING a pause | DONE a abort, client abort
DONE             | DONE refuse          | DONE            | DONE              | DONE
DONE waiting     | DONE refuse          | DONE            | DONE              | DONE
DONE dialing     | DONE refuse          | DONE            | DONE              | DONE
"""

OF_DIALS = """
                    | connected             | refuses              | refuses sockets
DIALING             | SENT a request POST 0 | WAITING client pause | DONE client reply 503 sockets 1
DONE dialing        | DONE a kept           | DONE                 | DONE
DONE dialing late   | DONE a kept           | DONE                 | DONE
DONE dialing broken | DONE a kept           | DONE                 | DONE
"""

OF_THE_BACKEND = """
           | lost a                           | lost a unprocessed | lost a malformed                      | interim a 103
SENT       | DONE client reply 502 backend    | DIALING dial a 5   | DONE client reply 502 bad_response    | SENT client interim 103
SENT whole | DONE client reply 502 backend    | DONE client reply 502 backend | DONE client reply 502 bad_response | SENT client interim 103
ANSWERING  | DONE client abort                | DONE client abort  | DONE client abort                     | -
"""  # noqa: E501 -- a table

OF_AN_ANSWER = """
           | answer a 200                                   | answer a 200 5 begun        | switched a
SENT       | DONE client head 200 5 end, a abort, client done | ANSWERING client head 200 5 | DONE a abort, client reply 502 bad_response
SENT whole | DONE client head 200 5 end, a release, client done | ANSWERING client head 200 5 | -
"""  # noqa: E501 -- a table

OF_ITS_REST = """
           | data a 3                | bulk_answer a 3 9              | end a                     | congested a
ANSWERING  | ANSWERING client data 3 | ANSWERING client splice 3 of 9 | DONE a abort, client done | ANSWERING client pause
SENT       | -                       | -                              | -                         | SENT client pause
SENT whole | -                       | -                              | -                         | SENT client pause
"""

OF_THE_ROUTE = """
             | remove                        | new_route closed         | reconsider | pump      | trouble crashes
NEW          | NEW                           | NEW                      | NEW        | NEW       | NEW
WAITING      | DONE client reply 503 removed | DONE client reply 503 60 | WAITING    | WAITING   | DONE client reply 503 failing 5
DIALING      | DIALING                       | DIALING                  | DIALING    | DIALING   | DIALING
SENT         | SENT                          | SENT                     | SENT       | SENT      | SENT
ANSWERING    | ANSWERING                     | ANSWERING                | ANSWERING  | ANSWERING | ANSWERING
DONE         | DONE                          | DONE                     | DONE       | DONE      | DONE
DONE waiting | DONE                          | DONE                     | DONE       | DONE      | DONE
DONE dialing | DONE                          | DONE                     | DONE       | DONE      | DONE
"""

OF_BACKENDS = """
                 | backends b       | backends
NEW              | NEW              | NEW
WAITING          | DIALING dial b 5 | WAITING
DIALING          | DIALING          | DIALING
SENT             | SENT             | SENT
ANSWERING        | ANSWERING        | ANSWERING
DONE             | DONE             | DONE
DONE waiting     | DONE             | DONE
DONE dialing     | DONE             | DONE
"""

TABLES = (OF_THE_BODY, OF_THE_CLIENT, OF_DIALS, OF_THE_BACKEND, OF_AN_ANSWER, OF_ITS_REST, OF_THE_ROUTE, OF_BACKENDS)


@pytest.mark.parametrize(("state", "comes", "expected"), [cell for table in TABLES for cell in cells(table)])
def test_what_comes(state: str, comes: str, expected: str) -> None:
    """A dash marks an input that cannot occur."""
    assert came_of(state, comes) == expected


@pytest.mark.parametrize("state", [state for state in BEGINNINGS if state.startswith("DONE")])
@pytest.mark.parametrize("comes", ["body 4", "body 4 end", "body 4 end 1", "bulk 4 6"])
def test_a_body_that_comes_after_the_end_is_not_buffered(state: str, comes: str) -> None:
    stage = play(BEGINNINGS[state])
    body = stage.current.body
    before = body and (body.size, body.trailers)
    stage.outputs.clear()
    verb, *words = comes.split(" ")
    getattr(stage, verb)(*words)
    assert stage.current.body is body
    assert (body and (body.size, body.trailers)) == before
    assert stage.outputs == []


WHILE_THE_CLIENT_IS_FULL = """
            | free client        | client_lost  | broken               | at 1000
NEW         | NEW                | NEW          | NEW refuse           | NEW
WAITING     | WAITING            | DONE         | DONE refuse          | DONE client reply 504 readiness_timeout
DIALING     | DIALING            | DONE         | DONE refuse          | DONE client reply 504 request_timeout
SENT        | SENT a resume      | DONE a abort | DONE a abort, refuse | DONE a abort, client reply 504 request_timeout
ANSWERING   | ANSWERING a resume | DONE a abort | DONE a abort, cut    | DONE a abort, client abort
DONE        | DONE               | DONE         | DONE refuse          | DONE
"""


@pytest.mark.parametrize(("state", "comes", "expected"), cells(WHILE_THE_CLIENT_IS_FULL))
def test_what_comes_while_the_client_reads_nothing(state: str, comes: str, expected: str) -> None:
    paused = "\n< a pause" if state in {"SENT", "ANSWERING"} else ""
    assert came_of(state, comes, f"\n> congested client{paused}") == expected


WHILE_THE_BACKEND_IS_FULL = """
            | free a                  | client_lost  | broken               | lost a
SENT        | SENT client resume      | DONE a abort | DONE a abort, refuse | DONE client reply 502 backend
SENT whole  | SENT client resume      | DONE a abort | -                    | DONE client reply 502 backend
ANSWERING   | ANSWERING client resume | DONE a abort | DONE a abort, cut    | DONE client abort
"""


@pytest.mark.parametrize(("state", "comes", "expected"), cells(WHILE_THE_BACKEND_IS_FULL))
def test_what_comes_while_the_backend_reads_nothing(state: str, comes: str, expected: str) -> None:
    assert came_of(state, comes, "\n> congested a\n< client pause") == expected


BEFORE_IT_BEGINS = {
    "a part of the body": "> backends a+\n> open POST 10\n> body 4\n> begin\n< a request POST 4\n> body 6 end\n< a data 6",
    "all of the body": "> backends a+\n> open POST 10\n> body 10 end\n> begin\n< a request POST 10",
    "a part, and it waits": """
> open PUT 10
> body 4
> begin
< client pause
= WAITING held=1 in_flight=0 load=0
> backends a
< dial a 5
> connected
< a request PUT 4
< client resume
""",
    "a body that is broken": "> backends a+\n> open POST 10\n> broken\n< refuse\n= NEW held=0 in_flight=0 load=0",
    "the client leaves": "> backends a+\n> open GET\n> client_lost\n= NEW held=0 in_flight=0 load=0",
    "the route goes, and nothing is ready": "> open GET\n> remove\n> begin\n< client reply 503 removed",
}


@pytest.mark.parametrize("script", BEFORE_IT_BEGINS.values(), ids=BEFORE_IT_BEGINS.keys())
def test_what_comes_before_it_begins(script: str) -> None:
    play(script)
