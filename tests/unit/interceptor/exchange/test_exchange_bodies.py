"""Bodies of requests: buffered until there is a connection, kept for sending again, relayed in bulk, and malformed."""

from __future__ import annotations

import pytest

from tests.support.playbook import play

BODIES = {
    "trailers that came early go out after the head": """
> backends a
> request POST 30
< dial a 5
> body 10 end 2
> connected
< a request POST 10
< a trailers 2
""",
    "trailers are sent again with their body": """
> backends a+
> request PUT -1
< a request PUT 0
> body 4 end 1
< a data 4
< a trailers 1
> lost a
< dial a 5
> connected
< a2 request PUT 4
< a2 trailers 1
> answer a2 200 5 begun
< client head 200 5
> end a2 keep 2
< client trailers 2
< a2 release
< client done
""",
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
    "but one that is here as a whole": """
> backends a
> request PUT 20000
< dial a 5
> body 20000 end
> connected
< a request PUT 20000
""",
    "a part of a large one that comes before there is a connection": """
> backends a
> request POST 100000
< dial a 5
> bulk 4000 96000
> connected
< a request POST 4000
""",
    "a large one is kept for a backend that says what it has not processed": """
> backends a+
> reports_unprocessed a
> request POST 100000
< a request POST 0
> bulk 4000 96000
< a data 4000
> lost a unprocessed
< dial a 5
> connected
< a2 request POST 4000
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
    "early parts of it too": """
> backends a
> request PUT 10
< dial a 5
> body 10 end
> connected
< a request PUT 10
> lost a
< dial a 5
> connected
< a2 request PUT 10
""",
    "a large one that is answered before its end is not kept": """
> backends a+
> request PUT 100000
< a request PUT 0
> answer a 200 5 begun
< client head 200 5
> bulk 4000 96000
< a splice 4000 of 96000
""",
    "a connection that has not taken all of it is not used again": """
> backends a+
> request POST 10
< a request POST 0
> body 10 end
< a data 10
> congested a
< client pause
> answer a 200
< client head 200 5 end
< a abort
< client done
""",
    "64 KiB of it too": """
> backends a+
> request PUT 65536
< a request PUT 0
> body 65536 end
< a data 65536
> lost a
< dial a 5
> connected
< a2 request PUT 65536
""",
    "but not one byte more": """
> backends a+
> request PUT 65537
< a request PUT 0
> body 65537 end
< a data 65537
> lost a
< client reply 502 backend
""",
    "64 KiB in parts": """
> backends a+
> request PUT 65536
< a request PUT 0
> body 65535
< a data 65535
> body 1 end
< a data 1
> lost a
< dial a 5
> connected
< a2 request PUT 65536
""",
    "nor one byte more in parts": """
> backends a+
> request PUT 65537
< a request PUT 0
> body 65535
< a data 65535
> body 2 end
< a data 2
> lost a
< client reply 502 backend
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
< client reply 502 backend
""",
    "a large body that is sent once is spliced": """
> backends a+
> request POST 100000
< a request POST 0
> bulk 4000 96000
< a splice 4000 of 96000
> lost a
< client reply 502 backend
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
    "what went past the process is not sent again, whatever the backend says": """
> backends a+
> request POST 100000
< a request POST 0
> bulk 4000 96000
< a splice 4000 of 96000
> lost a unprocessed
< client reply 502 backend
""",
    "a body that is broken after its answer changes nothing": """
> backends a+
> request POST 10
< a request POST 0
> answer a 413
< client head 413 5 end
< a abort
< client done
> broken
< refuse
= DONE held=0 in_flight=0 load=0
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
