"""What a codec may give up for lost, and how long a body is kept to be sent again."""

from __future__ import annotations

import pytest

from tests.support.playbook import WARM, play

RETRIES = {
    "a request that may be sent twice": WARM + "> may_retry a\n< yes",
    "one that is sent once": """
> backends a+
> request POST 5
< a request POST 0
> body 5 end
< a data 5
> may_retry a
< no
""",
    "a body, before its end and after it": """
> backends a+
> request PUT 10
< a request PUT 0
> body 4
< a data 4
> may_retry a
< no
> body 6 end
< a data 6
> may_retry a
< yes
""",
    "a body that was not kept": """
> backends a+
> request PUT 70000
< a request PUT 0
> body 60000
< a data 60000
> body 10000 end
< a data 10000
> may_retry a
< no
""",
    "the last attempt": WARM + """
> lost a
< dial a 5
> connected
< a2 request GET 0
> lost a2
< dial a 5
> connected
< a3 request GET 0
> may_retry a3
< yes
> lost a3
< dial a 5
> connected
< a4 request GET 0
> may_retry a4
< no
""",
}  # fmt: skip


@pytest.mark.parametrize("script", RETRIES.values(), ids=RETRIES.keys())
def test_what_a_codec_may_give_up_for_lost(script: str) -> None:
    play(script)


def test_a_body_is_not_kept_longer_than_it_may_be_sent_again() -> None:
    stage = play("> backends a+\n> request PUT 4\n< a request PUT 0\n> body 4 end\n< a data 4")
    assert stage.exchange is not None
    assert stage.exchange.body is not None
    stage.answer("a", "200", "5", "begun")
    assert stage.exchange.body is None
