"""Probes: which backends are probed, how results are evaluated, and time limits."""

from __future__ import annotations

import logging
import math

import msgspec
import pytest

from fleet.routing.route import Protection, Route, Rule, Target, Timeouts, WeightedTarget
from fleet.routing.table import RoutingTable
from interceptor.backends.endpoint import ProbeRule
from interceptor.backends.probes import MAX_PROBES, probe_rules
from tests.support.manual_loop import play_in_time
from tests.support.probes_playbook import ProbesStage

CONNECTIONS = {
    "taken: trusted, and kept": """
> ask a
< dial a
> at 3
> takes a
< a offered at 3
< a passed
> counts
< passes=1 failures=0 probing=0
""",
    "refused": """
> ask a
< dial a
> at 3
> refuses a
< a failed at 3
> counts
< passes=0 failures=1 probing=0
> error
< Connection refused
> ask a
< dial a
> takes a
< a offered at 3
< a passed
> error
< none
""",
    "not taken within the time of the route": """
> rule - 2
> ask a
< dial a
> at 1.9
> at 2
< a failed at 2
> error
< connect timed out
""",
    "not taken within 5 s, on a route without a limit": """
> ask a
< dial a
> at 4.9
> at 5
< a failed at 5
""",
    "of a backend that is gone before: not asked": """
> gone a
> ask a
> counts
< passes=0 failures=0 probing=0
""",
    "of a backend that goes meanwhile: it is told nothing": """
> ask a
< dial a
> gone a
> refuses a
> counts
< passes=0 failures=0 probing=0
""",
    "of several at once": """
> ask a b
< dial a
< dial b
> counts
< passes=0 failures=0 probing=2
> refuses b
< b failed at 0
> takes a
< a offered at 0
< a passed
""",
    "at the end: nobody is told anything": """
> ask a
< dial a
> close
< closed, probing=0
> counts
< passes=0 failures=0 probing=0
""",
}  # fmt: skip


@pytest.mark.parametrize("script", CONNECTIONS.values(), ids=CONNECTIONS.keys())
def test_connections(script: str) -> None:
    play_in_time(ProbesStage, script)


ASKED = """
> rule /ready
> ask a
< dial a
> takes a
< a GET /ready
"""
ANSWERS = {
    "good: the connection is kept": """
> answers a 200
< a release
< a offered at 0
< a passed
> counts
< passes=1 failures=0 probing=0
""",
    "good, of a connection that ends": """
> answers a 200 close
< a abort
< a passed
""",
    "good, with a body that is still to come": """
> answers a 200 begun
< a abort
< a passed
""",
    "the last that is good": """
> answers a 399
< a release
< a offered at 0
< a passed
""",
    "an error": """
> answers a 400
< a abort
< a failed at 0
> counts
< passes=0 failures=1 probing=0
""",
    "less than good": """
> answers a 199
< a abort
< a failed at 0
""",
    "an interim one is only on its way": """
> interim a
> at 4
> answers a 200
< a release
< a offered at 4
< a passed
""",
    "none within 5 s": """
> at 4.9
> at 5
< a abort
< a failed at 5
""",
    "one that comes too late": """
> at 5
< a abort
< a failed at 5
> answers a 500
< a abort
> lost a
""",
    "none: its connection ends": """
> lost a
< a failed at 0
""",
    "none: its connection is reset": """
> lost a reset
< a failed at 0
""",
    "another protocol": """
> switches a
< a abort
< a failed at 0
""",
}  # fmt: skip


@pytest.mark.parametrize("script", ANSWERS.values(), ids=ANSWERS.keys())
def test_answers(script: str) -> None:
    play_in_time(ProbesStage, ASKED + script)


def test_a_probe_is_not_sent_again_and_takes_no_body() -> None:
    stage = play_in_time(ProbesStage, ASKED)
    sink = stage.sinks["a"]
    assert sink.may_retry() is False
    assert sink.on_answer_bulk(memoryview(b"x"), None, 1) == 0
    assert (sink.method, sink.unframed) == (b"GET", False)


def test_no_more_than_a_bound_at_once() -> None:
    names = [f"b{number}" for number in range(MAX_PROBES + 2)]
    asked = "\n".join(f"< dial {name}" for name in names[:MAX_PROBES])
    play_in_time(
        ProbesStage,
        f"""
> ask {" ".join(names)}
{asked}
> counts
< passes=0 failures=0 probing={MAX_PROBES + 2}
> takes b7
< b7 offered at 0
< b7 passed
< dial b{MAX_PROBES}
> close
< closed, probing=1
> at 100
""",
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("> ask a\n< dial a\n> refuses a\n< a failed at 0", "backend a of shop is not ready: Connection refused"),
        (ASKED + "> answers a 500\n< a abort\n< a failed at 0", "backend a of shop is not ready: /ready was answered with 500"),
        (ASKED + "> lost a\n< a failed at 0", "backend a of shop is not ready: /ready was not answered: ended"),
        (ASKED + "> at 5\n< a abort\n< a failed at 5", "backend a of shop is not ready: /ready was not answered within 5 s"),
        (
            ASKED + "> switches a\n< a abort\n< a failed at 0",
            "backend a of shop is not ready: /ready was not answered: it switched protocols unasked",
        ),
    ],
)
def test_a_failure_is_logged_once_and_so_is_the_end_of_failures(script: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    passes = "> rule -\n> ask {1}\n< dial {1}\n> takes {1}\n< {1} offered at {0}\n< {1} passed\n"
    again = "\n> rule -\n> ask a\n< dial a\n> refuses a\n< a failed at {0}\n"
    now = 5 if "at 5" in script else 0
    play_in_time(ProbesStage, passes.format(0, "b") + script + again.format(now) + passes.format(now, "a"))
    assert caplog.messages == [said, "backend a of shop is back"]


def _route(name: str, service: str, path: str | None = None, connect: float | None = None) -> Route:
    return Route(
        app=f"default/{name}", target=Target(f"default/{service}"), rules=(Rule(hosts=(f"{name}.test",)),),
        protection=Protection(readiness_path=path), timeouts=Timeouts(connect=connect),
    )  # fmt: skip


def test_rules_of_targets() -> None:
    usual = ProbeRule(None, 3.0)
    table = RoutingTable([
        _route("a", "plain"),
        _route("b", "path", "/ready"),
        _route("c", "time", None, 7.0),
        _route("d", "shorter", None, 1.0),
        _route("e", "for-ever", None, 0.0),
        _route("f", "shared", "/first", 4.0),
        _route("g", "shared", "/second", 9.0),
        _route("h", "shared", None, 5.0),
        msgspec.structs.replace(_route("i", "own", "/ready"), rules=(Rule(backends=(WeightedTarget("default/of-a-rule"),)),)),
    ])  # fmt: skip
    rules = {key.removeprefix("default/"): rule for (key, _), rule in probe_rules(table, usual).items()}
    assert {key.split(":")[0]: rule for key, rule in rules.items()} == {
        "path": ProbeRule("/ready", 3.0),
        "time": ProbeRule(None, 7.0),
        "shorter": ProbeRule(None, 3.0),
        "for-ever": ProbeRule(None, math.inf),
        "shared": ProbeRule("/first", 9.0),
        "own": ProbeRule("/ready", 3.0),
        "of-a-rule": ProbeRule("/ready", 3.0),
    }
