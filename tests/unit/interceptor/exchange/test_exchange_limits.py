"""The time limits of an exchange: each at its own second, and sides that are slow but move."""

from __future__ import annotations

import pytest

from tests.support.playbook import WARM, play

LIMITED = {
    "readiness": """
> request GET
> at 19
> at 20
< client reply 504
""",
    "response header": WARM
    + """
> at 29
> at 30
< a abort
< client reply 504
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
< client reply 408
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
< client reply 504
""",
    "a backend that does not say go on": """
> backends a+
> request PUT 10 expects
< a request PUT 0
> at 10
> at 30
< a abort
< client reply 504
""",
    "a body that was told to go on": """
> backends a+
> request PUT 10 expects
< a request PUT 0
> interim a 100
< client interim 100
> at 10
< a abort
< client reply 408
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
< client reply 504
""",
}


@pytest.mark.parametrize("script", LIMITED.values(), ids=LIMITED.keys())
def test_limits(script: str) -> None:
    play(script)
