"""The phases of an exchange: every transition of the table, and inputs that must have no effect."""

from __future__ import annotations

import pytest

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


def test_what_is_counted_of_a_cold_start() -> None:
    stage = play(COLD.replace("= WAITING held=1 in_flight=0 load=0", "> at 3") + "> connected\n< a request GET 0")
    assert stage.app.stats.held.sum == 3
    assert stage.app.stats.fallbacks == 0
