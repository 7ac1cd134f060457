"""Bodies of requests: kept until there is a connection, kept for sending again, passed on in bulk, and broken."""

from __future__ import annotations

import pytest

from tests.support.playbook import play

BODIES = {
    "early parts go out with the head": """
> backends a
> request POST 30
< dial a 5
> body 10
> body 10
> connected
< a request POST 20
> body 10 end
< a data 10
""",
    "an early body beyond its bound is not read on": """
> backends a
> request PUT 100000
< dial a 5
> body 16384
> body 1
< client pause
> connected
< a request PUT 16385
< client resume
""",
    "while it waits the client is not read from": """
> request PUT 10
< client pause
> backends a
< dial a 5
> connected
< a request PUT 0
< client resume
""",
    "what may be sent twice is kept": """
> backends a+
> request PUT 10
< a request PUT 0
> body 4
< a data 4
> lost a
< dial a 5
> body 6 end
> connected
< a2 request PUT 10
""",
    "but not what is too large": """
> backends a+
> request PUT 70000
< a request PUT 0
> body 60000
< a data 60000
> body 10000 end
< a data 10000
> lost a
< client reply 502
""",
    "a large body that is sent once is spliced": """
> backends a+
> request POST 100000
< a request POST 0
> bulk 4000 96000
< a splice 4000 of 96000
> lost a
< client reply 502
""",
    "a large one that may be sent twice is, once it is too large to be kept": """
> backends a+
> request PUT 100000
< a request PUT 0
> bulk 40000 60000
< a data 40000
> bulk 40000 20000
< a data 40000
> bulk 10000 10000
< a splice 10000 of 10000
""",
    "a broken body before an answer is refused": """
> backends a+
> request POST 10
< a request POST 0
> broken
< a abort
< refuse
""",
    "a broken body after one has begun cuts it": """
> backends a+
> request POST 10
< a request POST 0
> answer a 200 5 begun
< client head 200 5
> broken
< a abort
< cut
""",
    "a connection is not used again before its request was whole": """
> backends a+
> request POST 10
< a request POST 0
> answer a 413
< client head 413 5 end
< a abort
< client done
""",
}


@pytest.mark.parametrize("script", BODIES.values(), ids=BODIES.keys())
def test_bodies(script: str) -> None:
    play(script)
