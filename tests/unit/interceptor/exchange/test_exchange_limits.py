"""The time limits of an exchange: each at its own time, and peers that are slow but still read."""

from __future__ import annotations

import pytest

from tests.support.playbook import WARM, play

LIMITED = {
    "readiness": """
> request GET
> at 19
> at 20
< client reply 504 readiness_timeout
""",
    "a deadline of the client's, while no backend is ready": """
> request POST 0 within=7
> at 6
> at 7
< client reply 504 grpc_timeout
= DONE held=0 in_flight=0 load=0
""",
    "a deadline of the client's, before an answer": """
> backends a+
> request POST 0 within=7
< a request POST 0
> at 6
> at 7
< a abort
< client reply 504 grpc_timeout
""",
    "a deadline of the client's, in an answer": """
> backends a+
> request POST 0 within=7
< a request POST 0
> answer a 200 5 begun
< client head 200 5
> at 6
> data a 1
< client data 1
> at 7
> at 7.4
> at 7.6
< a abort
< client abort
""",
    "a deadline of the client's, in an answer that its backend ends": """
> backends a+
> request POST 0 within=7
< a request POST 0
> answer a 200 5 begun
< client head 200 5
> at 7
> data a 5
< client data 5
> end a
< a release
< client done
= DONE held=0 in_flight=0 load=0
""",
    "a deadline of the client's that is beyond the route's": """
> backends a+
> request POST 0 within=1000
< a request POST 0
> at 29
> at 30
< a abort
< client reply 504 response_header_timeout
""",
    "a backend that gives up at the client's deadline": """
> backends a+
> request POST 0 within=7
< a request POST 0
> at 6.995
> lost a
< client reply 504 grpc_timeout
= DONE held=0 in_flight=0 load=0
""",
    "a backend that fails before the client's deadline": """
> backends a+
> request POST 0 within=7
< a request POST 0
> at 6.9
> lost a
< client reply 502 backend
""",
    "response header": WARM
    + """
> at 29
> at 30
< a abort
< client reply 504 response_header_timeout
""",
    "whole request": WARM
    + """
> answer a 200 5 begun
< client head 200 5
> at 9
> data a 1
< client data 1
> at 18
> data a 1
< client data 1
> at 100
< a abort
< client abort
""",
    "whole request, however much comes": WARM
    + """
> answer a 200 5 begun
< client head 200 5
"""
    + "".join(f"> at {at}\n> data a 1\n< client data 1\n" for at in range(9, 100, 9))
    + """
> at 100
< a abort
< client abort
""",
    "silence after much of an answer went past the process": WARM
    + """
> answer a 200 5 begun
< client head 200 5
> at 9
> bulk_answer a 4 100000
< client splice 4 of 100000
> at 18
> at 19
< a abort
< client abort
""",
    "a backend that took the rest of a body while it answered": """
> backends a+
> request POST 10
< a request POST 0
> congested a
< client pause
> body 10 end
< a data 10
> answer a 200 5 begun
< client head 200 5
> free a
< client resume
> at 9
> at 10
< a abort
< client abort
""",
    "the time for the head of an answer begins with the end of the body": """
> backends a+
> request POST 10
< a request POST 0
> at 9
> body 10 end
< a data 10
> at 38
> at 39
< a abort
< client reply 504 response_header_timeout
""",
    "each part of a body begins the time for the next": """
> backends a+
> request POST 10
< a request POST 0
> at 9
> body 5
< a data 5
> at 18
> at 19
< a abort
< client reply 408 slow_body
""",
    "also of one that goes past the process": """
> backends a+
> request POST 100000
< a request POST 0
> at 9
> bulk 4000 96000
< a splice 4000 of 96000
> at 18
> at 19
< a abort
< client reply 408 slow_body
""",
    "a body that still comes while it is answered is no silence": """
> backends a+
> request POST 10
< a request POST 0
> answer a 200 5 begun
< client head 200 5
> at 9
> body 5
< a data 5
> at 18
> at 19
< a abort
< client abort
""",
    "a backend that still reads a body slowly while it answers is not silent": """
> backends a+
> request POST 10
< a request POST 0
> answer a 200 5 begun
< client head 200 5
> congested a 4
< client pause
> at 10
> at 15
> congested a 10
> at 16
< a abort
< client abort
""",
    "of two slow readers the one that read last": WARM
    + """
> answer a 200 5 begun
< client head 200 5
> congested client 9
< a pause
> congested a 3
< client pause
> at 10
> at 16
> congested a 10
> congested client 10
> at 17
< a abort
< client abort
""",
    "a retry waits as long as the first wait has left": """
> at 1
> backends a
> request GET
< dial a 5
> at 5
> refuses
= WAITING held=1 in_flight=0 load=0
> at 20
> at 21
< client reply 502 connect
""",
    "nor does a second wait begin anew": """
> at 1
> request GET
> at 3
> backends a
< dial a 5
> at 5
> refuses
> at 20
> at 21
< client reply 502 connect
""",
    "after a lost connection the wait begins anew": """
> at 1
> request GET
> at 3
> backends a
< dial a 5
> connected
< a request GET 0
> at 6
> backends
> lost a
= WAITING held=1 in_flight=0 load=0
> at 25
> at 26
< client reply 504 readiness_timeout
""",
    "the whole request while it waits": """
> at 1
> request GET
> at 19
> backends a
< dial a 5
> connected
< a request GET 0
> at 40
> backends
> lost a
> at 50
> backends a
< dial a 5
> connected
< a2 request GET 0
> at 70
> backends
> lost a2
> at 80
> backends a
< dial a 5
> connected
< a3 request GET 0
> at 90
> backends
> lost a3
> at 100
> at 101
< client reply 504 request_timeout
> counts
< counted GET 504 cold: 1 in 100
< counted own request_timeout 504
< counted start ready: 1 in 18
< counted held: 3 in 38
""",
    "the whole request while a connection is opened": """
> backends a
> request POST
< dial a 5
> at 99
> at 100
< client reply 504 request_timeout
""",
    "silence in an answer": WARM
    + """
> answer a 200 5 begun
< client head 200 5
> at 10
< a abort
< client abort
""",
    "a slow reader is not silent": WARM
    + """
> answer a 200 5 begun
< client head 200 5
> congested client 4
< a pause
> at 10
> at 15
> at 16
> congested client 10
> at 22
< a abort
< client abort
""",
    "a client that sends no more of its body": """
> backends a+
> request POST 10
< a request POST 0
> at 10
< a abort
< client reply 408 slow_body
""",
    "a backend that takes no more of it": """
> backends a+
> request POST 10
< a request POST 0
> congested a 3
< client pause
> at 10
> congested a 10
> at 17
< a abort
< client reply 504 body_timeout
""",
    "a backend that does not say go on": """
> backends a+
> request PUT 10 expects
< a request PUT 0
> at 10
> at 30
< a abort
< client reply 504 response_header_timeout
""",
    "a body that was told to go on": """
> backends a+
> request PUT 10 expects
< a request PUT 0
> interim a 100
< client interim 100
> at 10
< a abort
< client reply 408 slow_body
""",
    "a body whose backend takes it again": """
> backends a+
> request POST 10
< a request POST 0
> congested a 3
< client pause
> body 10 end
< a data 10
> at 9
> free a
< client resume
> at 38
> at 39
< a abort
< client reply 504 response_header_timeout
""",
}


@pytest.mark.parametrize("script", LIMITED.values(), ids=LIMITED.keys())
def test_limits(script: str) -> None:
    play(script)


BEGUN = WARM + "> answer a 200 5 begun\n< client head 200 5\n"
BODY = "> backends a+\n> request POST 10\n< a request POST 0\n"
UNLIMITED = {
    "each part of an answer begins the time for the next": BEGUN
    + "".join(f"> at {at}\n> data a 1\n< client data 1\n" for at in range(9, 200, 9))
    + "> at 207\n> at 208\n< a abort\n< client abort",
    "silence in an answer": BEGUN + "> at 9\n> at 10\n< a abort\n< client abort",
    "silence after a part that went past the process": BEGUN
    + "> at 9\n> bulk_answer a 4 9\n< client splice 4 of 9\n> at 18\n> at 19\n< a abort\n< client abort",
    "the head of an answer": "> at 1\n" + WARM + "> at 30\n> at 31\n< a abort\n< client reply 504 response_header_timeout",
    "the body of a request": "> at 1\n" + BODY + "> at 10\n> at 11\n< a abort\n< client reply 408 slow_body",
    "a deadline of the client's": "> backends a+\n> request GET 0 within=7\n< a request GET 0\n> at 6\n> at 7\n"
    "< a abort\n< client reply 504 grpc_timeout",
    "none while a connection is opened": "> backends a\n> request GET\n< dial a 5\n> at 1000",
}


@pytest.mark.parametrize("script", UNLIMITED.values(), ids=UNLIMITED.keys())
@pytest.mark.parametrize("checked", ["", "> checked\n"], ids=["first", "again"])
def test_without_a_limit_of_the_whole_request(script: str, checked: str) -> None:
    play(checked + script, timeouts={"request": 0})


@pytest.mark.parametrize("script", LIMITED.values(), ids=LIMITED.keys())
def test_limits_on_a_connection_that_is_checked_already(script: str) -> None:
    play("> checked" + script)


LATE = (WARM, {"request": 0, "response_header": 5}, False)
WATCHES = {
    "no limit is due soon": LATE,
    "the limit is due soon": (WARM, {"request": 0, "response_header": 4.9}, True),
    "the whole request has a limit": (WARM, {"response_header": 30}, True),
    "its body still comes": (BODY, {"request": 0, "response_header": 30}, True),
}


@pytest.mark.parametrize(("script", "timeouts", "watched"), WATCHES.values(), ids=WATCHES.keys())
def test_a_connection_that_is_checked_already_is_not_watched_again(
    script: str, timeouts: dict[str, float], watched: bool
) -> None:
    """The checks are close enough for what is due later, so such a request saves the call."""
    stage = play("> checked\n" + script, timeouts=timeouts)
    assert bool(stage.watched) == watched
    assert play(script, timeouts=timeouts).watched, "it has to be checked from the first request on"
