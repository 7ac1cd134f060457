"""What an exchange becomes after an upgrade: bytes both ways, half-closed sides, limits, winding down, and one release."""

from __future__ import annotations

import pytest

from tests.support.playbook import play

OPEN = """
> backends a+
> request GET 0 upgrade
< a request GET 0
> switched a
< client upgrade 2
= DONE held=0 in_flight=1 load=1
"""
OVER = "= DONE held=0 in_flight=0 load=0"

SCRIPTS = {
    "bytes pass both ways": """
> client_says 3
< a data 3
> backend_says a 4
< client data 4
= DONE held=0 in_flight=1 load=1
""",
    "both sides end": f"""
> client_ends
< a eof
> backend_says a 4
< client data 4
> backend_ends a
< client eof
< a part
< client leave tunnel
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
< a part
< client leave tunnel
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
    "one side may go on for 30 s after the other has ended": f"""
> client_ends
< a eof
> at 29
> at 30
< a part
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
< a part
< client leave tunnel
{OVER}
""",
    "it is wound down, and the backend says nothing": f"""
> wind_down 5
< a eof
> at 4
> at 5
< a part
< client leave tunnel
{OVER}
""",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_tunnel(script: str) -> None:
    play(OPEN + script)
