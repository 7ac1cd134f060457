"""What the live table says of an app."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from weir.engine.specfile import parse_spec
from weir.engine.supervisor import State
from weir.engine.view import app_state


def _app(*replicas: tuple[State, int], fields: str = "") -> Any:
    spec = parse_spec(f"apps: [{{name: a, hosts: [a], command: x{fields}}}]", Path("apps.yaml")).spec.apps[0]
    return SimpleNamespace(spec=spec, replicas=[SimpleNamespace(state=state, failures=failures) for state, failures in replicas])


@pytest.mark.parametrize(
    ("replicas", "said"),
    [
        ([], "asleep"),
        ([(State.STARTING, 0)], "starting"),
        ([(State.READY, 0), (State.STARTING, 0)], "growing"),
        ([(State.READY, 0)], "ready"),
        ([(State.DRAINING, 0)], "going to sleep"),
        ([(State.STARTING, 3)], "failing (3 times), is started again"),
    ],
)
def test_states(replicas: list[tuple[State, int]], said: str) -> None:
    assert app_state(_app(*replicas)) == said
    assert app_state(_app(*replicas, fields=", maintenance: true")) == f"in maintenance, {said}"
