"""Playbooks for one exchange: lines that begin with ">" are inputs, and lines that begin with "<" are the expected outputs.

In memory, on a clock that only the playbook moves; client and backends record the calls that they get. An input is a verb of
`Stage`; a line that begins with "=" is the state after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from interceptor.exchange.phases import DONE, NAMES
from tests.support.exchange_verbs import ClientVerbs, RouteVerbs, ServerVerbs, TunnelVerbs

__all__ = ["WARM", "Stage", "play"]

WARM = """
> backends a+
> request GET
< a request GET 0
= SENT held=0 in_flight=1 load=1
"""
"""The beginning of many playbooks: a request on an idle connection."""


class Stage(RouteVerbs, ClientVerbs, ServerVerbs, TunnelVerbs):
    """One exchange with everything that it needs, and all verbs."""


def play(script: str, routes: Mapping[str, dict[str, Any]] = MappingProxyType({}), **route: Any) -> Stage:
    """Run a playbook, on the route with these fields, which may change to others of `routes`.

    Fails at the first expected line that is missing or different, or if a finished exchange holds anything."""
    stage = Stage(**route)
    stage.routes = {name: dict(fields) for name, fields in routes.items()}
    lines = [line.strip() for line in script.strip().splitlines() if line.strip() and not line.strip().startswith("#")]
    for number, line in enumerate(lines):
        kind, _, text = line.partition(" ")
        if kind == ">":
            assert stage.outputs == [], f"{stage.outputs} came before {line!r}"
            verb, *words = text.split()
            act: Callable[..., None] = getattr(stage, verb)
            act(*words)
        elif kind == "<":
            assert stage.outputs, f"{text!r} did not come; state {stage.state()}"
            output = stage.outputs.pop(0)
            assert output == text, f"line {number + 1}: {output}"
        else:
            assert stage.state() == text, line
    assert stage.outputs == []
    if stage.exchange is not None and stage.state().startswith(NAMES[DONE]):
        assert (stage.exchange.wait, stage.exchange.attempt) == (None, None), "it would stay in memory until a collection"
    if stage.begun == 1 and stage.state().startswith(NAMES[DONE]) and stage.client.tunnel is None:
        assert stage.state() == "DONE held=0 in_flight=0 load=0"
    return stage
