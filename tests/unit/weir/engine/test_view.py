"""What the live table says of an app."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest
from rich.console import Console

from fleet.runtime.logs import configure_logging
from tests.support.acting import HOSTILE, acting
from weir.engine.child import _Lines
from weir.engine.outlet import Outlet
from weir.engine.specfile import parse_spec
from weir.engine.supervisor import State
from weir.engine.view import LiveView, PlainView, app_state


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


HOSTILE_SPEC = """apps:
- {name: a, rules: [{hosts: [a.test], paths: ["/\\x9b2J\\u202e[red][/x]"], headers: [{name: x, value: "\\x9bv"}]}], command: x}
"""


class _Engine:
    """As much of an engine as a view looks at."""

    rpc_addresses: tuple[str, ...] = ()
    proxy_ports = (8080,)

    def __init__(self) -> None:
        self.spec = parse_spec(HOSTILE_SPEC, Path("apps.yaml")).spec
        self.apps: list[Any] = []


def _written(reader: int) -> str:
    with os.fdopen(reader, "rb") as file:
        return file.read().decode()


@pytest.mark.parametrize("live", [False, True], ids=["plain", "live"])
@pytest.mark.usefixtures("_root")
def test_what_others_have_written_acts_on_no_terminal(live: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    reader, writer = os.pipe()
    outlet = Outlet(writer)
    view = LiveView(Console(file=cast("IO[str]", outlet), force_terminal=True, width=4000)) if live else PlainView(outlet)
    lines = _Lines(lambda line: view.tell("a/1", line))
    lines.data_received(HOSTILE.encode() + b"\n\x1b[" + b"9" * 5000 + b"m\n\x1b[38;2;1mx\x1b[;;mx\n")
    logging.getLogger("example").warning("peer says %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("example").exception("failed")
    view.ready(cast("Any", _Engine()))
    outlet.close()
    os.close(writer)
    text = _written(reader)
    for part in ("peer says", "ValueError", "try: curl", "a/1 | "):
        assert part in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "[red]" in text
    assert not acting(text, colours=True, lines=True)
    assert not acting(capsys.readouterr().out, lines=True)


@pytest.fixture
def _root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
