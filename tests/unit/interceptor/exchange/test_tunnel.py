"""A tunnel after an upgrade: bytes in both directions, half-closed sides, limits, winding down, and exactly one release."""

from __future__ import annotations

import pytest

from tests.support.playbook import play

OPEN = """
> backends a+
> request GET 0 upgrade
< a request GET 0
> switched a
< client upgrade 2
= DONE held=0 in_flight=1 load=1 tunnels=1
"""
OVER = "= DONE held=0 in_flight=0 load=0"

SCRIPTS = {
    "bytes pass both ways": """
> client_says 3
< a data 3
> backend_says a 4
< client data 4
= DONE held=0 in_flight=1 load=1 tunnels=1
""",
    "both sides end": f"""
> client_ends
< a eof
> backend_says a 4
< client data 4
> backend_ends a
< client eof
< a close_after_flush
< client leave tunnel 0
{OVER}
""",
    "what a client says after its end goes nowhere": """
> client_ends
< a eof
> client_says 3
""",
    "the client leaves": f"""
> client_leaves
< a abort
{OVER}
> client_leaves
""",
    "the backend is lost": f"""
> backend_leaves a
< a abort
< client cut tunnel
{OVER}
""",
    "the backend has said all before it is lost": f"""
> backend_ends a
< client eof
> backend_leaves a
< a close_after_flush
< client leave tunnel 30
{OVER}
""",
    "nothing is said for the idle limit": f"""
> at 9
> client_says 1
< a data 1
> at 18
> at 19
< a abort
< client abort
{OVER}
""",
    "a client that is slow to take what was said is not idle": f"""
> congested client 4
< a pause
> at 10
> at 15
> congested client 10
> at 21
< a abort
< client abort
{OVER}
""",
    "what the backend says is no silence either": f"""
> at 9
> backend_says a 1
< client data 1
> at 18
> at 19
< a abort
< client abort
{OVER}
""",
    "a client that is slow for a while": """
> congested client
< a pause
> free client
< a resume
""",
    "it is counted when it ends": f"""
> at 3
> counts
> client_leaves
< a abort
{OVER}
> counts
< counted GET 101: 1
""",
    "it is wound down twice: the first time counts": f"""
> wind_down 5
< a eof
> at 3
> wind_down 9
> at 5
< a close_after_flush
< client leave tunnel 2.5
{OVER}
""",
    "one side may go on for 30 s after the other has ended": f"""
> client_ends
< a eof
> at 29
> at 30
< a close_after_flush
< client abort
{OVER}
""",
    "it is wound down, and the backend says goodbye": f"""
> wind_down 5
< a eof
> backend_says a 7
< client data 7
> backend_ends a
< client eof
< a close_after_flush
< client leave tunnel 2.5
{OVER}
""",
    "it is wound down, and the backend says nothing": f"""
> wind_down 5
< a eof
> at 4
> at 5
< a close_after_flush
< client leave tunnel 2.5
{OVER}
""",
}

BEGINNINGS = {
    "what came early goes on": """
> early 3
> switched a
< client upgrade 2
< a early 3
""",
    "a client that has yet to take an answer before": """
> backends
> backends b
> request GET 0 upgrade
< dial b 5
> congested client
> connected
< b request GET 0
> switched b
< client upgrade 2
< b pause
""",
    "a client that has closed its side before": """
> half_closes
> switched a
< client upgrade 2
< a eof
= DONE held=0 in_flight=1 load=1 tunnels=1
> at 29
> at 30
< a close_after_flush
< client abort
= DONE held=0 in_flight=0 load=0
""",
    "a backend that is slow": """
> switched a
< client upgrade 2
> backend_full a
< client pause
> backend_free a
< client resume
""",
}


@pytest.mark.parametrize("script", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_beginnings(script: str) -> None:
    play("> backends a+\n> request GET 0 upgrade\n< a request GET 0" + script)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_tunnel(script: str) -> None:
    play(OPEN + script)
