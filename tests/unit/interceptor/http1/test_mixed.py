"""Both ends of HTTP/1 where the other end speaks another protocol: what frames the bodies."""

from __future__ import annotations

import pytest

from tests.support.backend_playbook import BackendStage
from tests.support.client_playbook import GET, POST, ClientStage
from tests.support.codec_playbook import play

HEAD = GET.replace("GET", "HEAD")
OLD = GET.replace("HTTP/1.1", "HTTP/1.0")
CHUNKS = """
> foreign 200 -1 abc
< out HTTP/1.1 200 OK|Transfer-Encoding: chunked||3|abc|
"""

ANSWERS = {
    "a body without a length goes in chunks": GET + CHUNKS + """
> more de
< out 2|de|
> done
< out 0||
= HEAD
""",
    "and may have trailers": GET + CHUNKS + """
> trailers a b
< out 0|a: 1|b: 1||
> done
= HEAD
""",
    "the kernel does not move what has to go in chunks": GET + CHUNKS + """
> splice defg 100000
< out 4|defg|
< moved -1
""",
    "one with a length goes as it is": GET + """
> foreign 200 5 abc
< out HTTP/1.1 200 OK||abc
> more de
< out de
> trailers a
> done
= HEAD
""",
    "and not beyond it": GET + """
> foreign 200 5 abcdefg
< out HTTP/1.1 200 OK||abcde
> more h
< out
> done
= HEAD
""",
    "one that ends early is reset": GET + """
> foreign 200 5 abc
< out HTTP/1.1 200 OK||abc
> done
< guard on
< reset
""",
    "an answer that is here as a whole has a length": GET + """
> foreign 200 0  end
< out HTTP/1.1 200 OK|Content-Length: 0||
> done
= HEAD
""",
    "an answer to HEAD has no content, whatever comes": HEAD + """
> foreign 200 -1 abc
< out HTTP/1.1 200 OK||
> done
= HEAD
""",
    "nor has one that is bodiless": GET + """
> foreign 204 -1 abc
< out HTTP/1.1 204 No Content||
> done
= HEAD
""",
    "a client that does not know chunks is told the end by the connection's": OLD + """
> foreign 200 -1 abc
< guard on
< out HTTP/1.1 200 OK|Connection: close||abc
> more de
< out de
> done
< guard off
< closed
""",
    "a client that is still sending its request cannot go on": POST + """
> foreign 413 0  end
< out HTTP/1.1 413 Content Too Large|Content-Length: 0|Connection: close||
> done
< eof
= DISCARD
""",
    "a status that cannot be written": GET + """
> foreign 999 0
< guard on
< reset
< lost
""",
}  # fmt: skip


@pytest.mark.parametrize("script", ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers(script: str) -> None:
    await play(ClientStage(), script)


REQUESTS = {
    "a body without a length goes in chunks": """
> foreign PUT -1 abc
< out PUT / HTTP/1.1|Host: a.test|Transfer-Encoding: chunked||3|abc|
> body de
< out 2|de|
> ends
< out 0||
> feed HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n
< answer 200 0 end reusable
""",
    "and may have trailers": """
> foreign PUT -1
< out PUT / HTTP/1.1|Host: a.test|Transfer-Encoding: chunked||
> ends a
< out 0|a: 1||
""",
    "one that is here as a whole has a length": """
> foreign PUT -1 abc end
< out PUT / HTTP/1.1|Host: a.test|Content-Length: 3||abc
""",
    "one with a length goes as it is, and not beyond it": """
> foreign PUT 5 abc
< out PUT / HTTP/1.1|Host: a.test||abc
> body def
< out de
> ends
> feed HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n
< answer 200 0 end reusable
""",
    "one that ends early cannot be completed": """
> foreign PUT 5 abc
< out PUT / HTTP/1.1|Host: a.test||abc
> ends
< reset
< lost BackendError: ...
""",
}  # fmt: skip


@pytest.mark.parametrize("script", REQUESTS.values(), ids=REQUESTS.keys())
async def test_requests(script: str) -> None:
    await play(BackendStage(), script)
