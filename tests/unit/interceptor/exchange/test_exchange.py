"""The life of an exchange: every transition of its table, and what must change nothing."""

from __future__ import annotations

import pytest

from fleet.routing.route import ColdStart, Protection, Target
from tests.support.playbook import WARM, play

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
< a rest
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
< a rest
< client done
= DONE held=0 in_flight=0 load=0
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
< a rest
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
""",
    "no sockets of our own": COLD + """
> refuses sockets
< client reply 503
= DONE held=0 in_flight=0 load=0
""",
    "lost unanswered: sent again on a new connection": WARM + """
> lost a
< dial a 5
= DIALING held=0 in_flight=1 load=1
> connected
< a2 request GET 0
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
< client reply 502
""",
    "lost with what may be sent once": """
> backends a+
> request POST 5
< a request POST 0
> body 5 end
< a data 5
> lost a
< client reply 502
""",
    "a malformed answer is an answer": WARM + """
> lost a malformed
< client reply 502
""",
    "lost in the middle of its answer: cut": WARM + """
> answer a 200 5 begun
< client head 200 5
> lost a
< client abort
= DONE held=0 in_flight=0 load=0
""",
    "408 of a connection that rested: sent again": WARM + """
> answer a 408 0 close
< a abort
< dial a 5
""",
    "408 that is meant": WARM + """
> answer a 408 0
< client head 408 0 end
< a rest
< client done
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
= DONE held=0 in_flight=1 load=1
""",
    "an upgrade before the end of the request": """
> backends a+
> request POST 10 upgrade
< a request POST 0
> switched a
< a abort
< client reply 502
""",
    "no route": """
> request GET 0 b.test
< refused no_route
< client reply 404
""",
    "the route goes while it waits": """
> request GET
> remove
< client reply 503
""",
    "no backend can ever come": """
> never no_service
> request GET
< client reply 502
""",
    "the application cannot start": """
> trouble crashes
> request GET
< client reply 503
""",
    "what it is told after its end changes nothing": WARM + """
> answer a 200
< client head 200 5 end
< a rest
< client done
> client_lost
> at 1000
= DONE held=0 in_flight=0 load=0
""",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_life(script: str) -> None:
    play(script)


def test_an_authenticated_connection_is_its_clients_own() -> None:
    stage = play(
        """
> backends a+
> request GET 0 personal
< a request GET 0
> answer a 200 5 personal
< client head 200 5 end
< a rest
< client done
> request GET
< a request GET 0
> answer a 200
< client head 200 5 end
< a rest
< client done
"""
    )
    assert stage.client.own_backend is stage.servers["a"]
    assert stage.servers["a"] not in stage.servers["a"].endpoint.spare


def test_one_that_speaks_for_others_has_none() -> None:
    stage = play("> backends a+")
    stage.client.trusted = True
    stage.request("GET", "0", "personal", "forwarded")
    stage.answer("a", "200", "5", "personal")
    assert stage.told[-2:] == ["a close", "client done"]


FALLBACK = ColdStart(fallback=Target("default/fallback"))
FALLBACKS = {
    "in time": "> fallback f\n> request GET\n> backends a\n< dial a 5",
    "too late": "> fallback f+\n> request GET\n> at 20\n< f request GET 0\n= SENT held=0 in_flight=1 load=1",
    "none ready": "> request GET\n> at 20\n< client reply 504",
    "lost again": "> fallback f+\n> request GET\n> at 20\n< f request GET 0\n> lost f\n< dial f 5",
    "no backend ever": "> fallback f+\n> never no_service\n> request GET\n< f request GET 0\n= SENT held=0 in_flight=0 load=1",
}


@pytest.mark.parametrize("script", FALLBACKS.values(), ids=FALLBACKS.keys())
def test_fallback(script: str) -> None:
    play(script, cold_start=FALLBACK)


def test_too_many_requests_of_an_application() -> None:
    play(WARM + "> request GET\n< client reply 503", protection=Protection(max_requests=1))


def test_no_room_to_wait() -> None:
    play("> request GET\n< client reply 503", cold_start=ColdStart(max_held=0))


def test_a_backend_that_has_all_it_may_have() -> None:
    play(WARM + "> request GET\n= WAITING held=1 in_flight=1 load=1", protection=Protection(backend_concurrency=1))
