"""The order of a drain: requests finish, idle connections and tunnels are ended in time, held requests get an error last."""

from __future__ import annotations

import pytest

from tests.support.drain_playbook import DrainStage
from tests.support.manual_loop import play_in_time

SCRIPTS = {
    "nobody is there": """
> drain 0 30
< turn away at 0.00
< over at 0.00
""",
    "who is there leaves at once": """
> come a b
> drain 0 30
> leave a
> at 0.3
> leave b
> at 0.35
< turn away at 0.32
< over at 0.32
""",
    "idle connections are kept for a moment": """
> come a
> drain 0 30
> at 0.49
> at 0.53
< close idle at 0.50
> leave a
> at 1
< turn away at 0.54
< over at 0.54
""",
    "the moment began with the drain, not when nothing was accepted any more": """
> come a
> at 1
> drain 0 30
< close idle at 1.00
> leave a
> at 2
< turn away at 1.02
< over at 1.02
""",
    "the moment is over when it is over": """
> come a
> drain -0.5 30
< close idle at 0.00
> leave a
> at 0.03
< turn away at 0.02
< over at 0.02
""",
    "half of the time is over when it is over": """
> come a
> drain 0 0.04
> at 0.02
< a winds down at 0.02 within 0.01
> at 0.05
< turn away at 0.04
< over at 0.04
""",
    "tunnels are wound down 5 s before the end": """
> come a
> drain 0 30
> at 24.99
< close idle at 0.50
> at 25.03
< a winds down at 25.02 within 2.49
> leave a
> at 30
< turn away at 25.04
< over at 25.04
""",
    "flows are ended when nothing comes of them": """
> datagram a
> datagram b
> drain 0 30
> at 1.2
< close idle at 0.50
> datagram b
> at 2.3
< end flow a at 2.02
> at 4
< end flow b at 3.54
< turn away at 3.56
< over at 3.56
""",
    "where there is less time, after half of it": """
> come a
> drain 0 4
> at 1.97
< close idle at 0.50
> at 2.03
< a winds down at 2.00 within 1.00
> leave a
> at 3
< turn away at 2.04
< over at 2.04
""",
    "a tunnel that begins meanwhile, too": """
> come a
> drain 0 4
> at 3
< close idle at 0.50
< a winds down at 2.00 within 1.00
> come b
> at 3.03
< b winds down at 3.02 within 0.49
> leave a b
> at 4
< turn away at 3.04
< over at 3.04
""",
    "who stays is left for the caller to cut": """
> come a
> at 1
> drain 0 2
< close idle at 1.00
> at 2.97
< a winds down at 2.00 within 0.50
> at 3.01
< turn away at 3.00
< over at 3.00
""",
    "those that wait are told, and their answers have time to go out": """
> waits
> come a
> drain 0 0.1
> at 0.09
< a winds down at 0.06 within 0.02
> at 0.19
< turn away at 0.10
> at 0.21
< over at 0.20
""",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_drain(script: str) -> None:
    play_in_time(DrainStage, script)


@pytest.mark.parametrize(
    ("script", "said"),
    [("> come a b\n> drain 0 0\n< turn away at 0.00\n< over at 0.00", ["drain time is over: 2 connections are cut"]),
     ("> drain 0 0\n< turn away at 0.00\n< over at 0.00", [])],
)  # fmt: skip
def test_connections_that_are_cut_are_logged(script: str, said: list[str], caplog: pytest.LogCaptureFixture) -> None:
    play_in_time(DrainStage, script)
    assert caplog.messages == said
