"""The live table's columns for an app."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest
from rich.console import Console

from fleet.runtime.logs import configure_logging
from tests.support.acting import HOSTILE, acting
from tests.support.atonce import AtOnce
from weir.engine.excerpt import LAST, ROWS
from weir.engine.lines import Lines
from weir.engine.live_table import AppStatus
from weir.engine.specfile import parse_spec
from weir.engine.supervisor import State
from weir.engine.threaded_writer import ThreadedWriter
from weir.engine.view import (
    APPS_AT_ONCE,
    BEHIND,
    FLUSH,
    PERIOD,
    At,
    LiveView,
    PlainView,
    View,
    at_of,
    curl_lines,
    https_lines,
    row_of,
    title_of,
    way_to,
)
from weir.queue_reader import AppDemand, Queues


def _app(
    *replicas: tuple[State, int],
    name: str = "a",
    fields: str = "",
    desired: int = 1,
    trouble: str = "",
    reason: str = "",
    before: tuple[str, str, int] = ("", "", 0),
    held_by: str = "",
) -> Any:
    text = f"apps: [{{name: {name}, hosts: [{name}.localhost], command: x{fields}}}]"
    spec = parse_spec(text, Path("apps.yaml")).spec.apps[0]
    living = [SimpleNamespace(state=state, failures=failures, reason="ended with exit code 7") for state, failures in replicas]
    schedule = SimpleNamespace(reason=reason)
    doing, problem, failures = before
    return SimpleNamespace(
        spec=spec,
        replicas=living,
        desired=desired,
        trouble=trouble,
        schedule=schedule,
        before=SimpleNamespace(doing=doing, problem=problem, failures=failures),
        held=SimpleNamespace(by=held_by),
    )


@pytest.mark.parametrize(
    ("replicas", "trouble", "status", "said"),
    [
        ([], "", AppStatus.ASLEEP, "asleep"),
        ([], "ended with exit code 7", AppStatus.TROUBLED, "failed: ended with exit code 7"),
        ([(State.DRAINING, 2)], "ended with exit code 7", AppStatus.TROUBLED, "failed: ended with exit code 7"),
        ([(State.STARTING, 0)], "", AppStatus.STARTING, "starting"),
        ([(State.READY, 0), (State.STARTING, 0)], "", AppStatus.STARTING, "growing"),
        ([(State.READY, 0)], "", AppStatus.AWAKE, "ready"),
        ([(State.READY, 1)], "", AppStatus.AWAKE, "ready"),
        ([(State.DRAINING, 0)], "", AppStatus.LEAVING, "going to sleep"),
        ([(State.FAILED, 1)], "", AppStatus.TROUBLED, "failing: ended with exit code 7"),
        ([(State.READY, 0), (State.STARTING, 3)], "", AppStatus.TROUBLED, "failing (3 times): ended with exit code 7"),
    ],
)
def test_states(replicas: list[tuple[State, int]], trouble: str, status: AppStatus, said: str) -> None:
    row = row_of(_app(*replicas, trouble=trouble), AppDemand("default/a"), 0.0, ("a.localhost", None))
    assert (row.status, row.state) == (status, said)
    closed = row_of(_app(*replicas, trouble=trouble, fields=", maintenance: true"), AppDemand("default/a"), 0.0, ("", None))
    assert closed.state == f"in maintenance, {said}"


def test_an_app_says_that_it_is_awake_by_its_schedule() -> None:
    def said(state: State) -> str:
        return row_of(_app((state, 0), reason="schedule until 18:00"), AppDemand("default/a"), 0.0, ("", None)).state

    assert (said(State.READY), said(State.STARTING)) == ("ready, schedule until 18:00", "starting")


@pytest.mark.parametrize(
    ("replicas", "before", "status", "said"),
    [
        ([], ("x runs", "", 0), AppStatus.STARTING, "starting: x runs, awake for web"),
        ([], ("x runs", "x failed", 2), AppStatus.STARTING, "starting: x runs, awake for web"),
        ([], ("", "x failed", 1), AppStatus.TROUBLED, "failed: x failed"),
        ([], ("", "x failed", 3), AppStatus.TROUBLED, "failed (3 times): x failed"),
        # Replicas of the definition before go on.
        ([(State.READY, 0)], ("", "x failed", 1), AppStatus.TROUBLED, "failed: x failed"),
        ([(State.READY, 0)], ("", "", 0), AppStatus.AWAKE, "ready, awake for web"),
    ],
)
def test_an_app_says_what_runs_before_it(
    replicas: list[tuple[State, int]], before: tuple[str, str, int], status: AppStatus, said: str
) -> None:
    made = _app(*replicas, before=before, held_by="default/web")
    row = row_of(made, AppDemand("default/a"), 0.0, ("a.localhost", None))
    assert (row.status, row.state) == (status, said)


def test_an_app_says_that_it_works_on_after_its_answers() -> None:
    def said(state: State, reason: str = "") -> str:
        return row_of(_app((state, 0), reason=reason), AppDemand("default/a", busy=2), 0.0, ("", None)).state

    assert (said(State.READY), said(State.STARTING)) == ("ready, busy", "starting")
    assert said(State.READY, reason="schedule until 18:00") == "ready, schedule until 18:00, busy"


@pytest.mark.parametrize(
    ("rules", "way", "url"),
    [
        ("hosts: [a.localhost]", "a.localhost:8080", "http://a.localhost:8080/"),
        ("hosts: ['*']", "127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("paths: [/api]", "127.0.0.1:8080/api", "http://127.0.0.1:8080/api"),
        ("hosts: [shop.example.com], paths: [/x]", "shop.example.com/x", None),
        ("headers: [{name: x-team}]", "by its headers", None),
        ("rules: [{hosts: [b.localhost]}, {hosts: [c.localhost]}]", "b.localhost:8080", "http://b.localhost:8080/"),
    ],
)
def test_ways(rules: str, way: str, url: str | None) -> None:
    spec = parse_spec(f"apps: [{{name: a, command: x, {rules}}}]", Path("apps.yaml")).spec.apps[0]
    assert way_to(spec, At("127.0.0.1:8080", "http")) == (way, url)


def _drawn_by(view: LiveView, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    drawn: list[object] = []

    def update(picture: object, *, refresh: bool) -> None:
        drawn.append(picture)

    monkeypatch.setattr(view._live, "update", update)
    return drawn


@pytest.mark.usefixtures("_root")
async def test_many_apps_are_looked_at_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end)
    view = _live(writer)
    drawn = _drawn_by(view, monkeypatch)
    engine: Any = _Engine()
    engine.apps = [_app(name="a")] * (4 * APPS_AT_ONCE)
    drawing = asyncio.create_task(view.draw(engine, Queues(), {}))
    turns = 0
    while not drawing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 4
    assert len(drawn) == 1
    view.leave()
    writer.close()
    os.close(write_end)
    os.close(reader)


@pytest.mark.usefixtures("_root")
async def test_the_table_is_drawn_only_when_something_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end)
    view = _live(writer)
    drawn = _drawn_by(view, monkeypatch)
    engine: Any = _Engine()
    engine.apps = [_app((State.READY, 0)), _app(name="b")]
    for _ in range(5):
        await view.draw(engine, Queues(), {})
    assert len(drawn) == 1
    await view.draw(engine, Queues({"default/a": AppDemand("default/a", in_flight=1)}), {})
    await view.draw(engine, Queues(), {})
    engine.apps[1].desired = 2
    await view.draw(engine, Queues(), {})
    await view.draw(engine, Queues(), {})
    assert len(drawn) == 4
    view.leave()
    writer.close()
    os.close(write_end)
    os.close(reader)


HTTPS_SPEC = """apps:
- {name: a, paths: [/], command: x}
- {name: b, hosts: [shop.localhost], paths: [/b], command: x}
- {name: c, hosts: [shop.localhost], paths: [/b], headers: [{name: x}], command: x}
- {name: d, hosts: [shop.test], command: x}
- {name: e, hosts: [e.localhost], command: x}
"""
HOSTILE_SPEC = """apps:
- {name: a, rules: [{hosts: [a.test], paths: ["/\\x9b2J\\u202e[red][/x]"], headers: [{name: x, value: "\\x9bv"}]}], command: x}
"""


@pytest.mark.parametrize(("state", "shown"), [(State.READY, "ready"), (State.STARTING, "starting")])
def test_why_an_app_without_requests_is_awake(state: State, shown: str) -> None:
    def state_of(needed_by: str) -> str:
        return row_of(_app((state, 0)), AppDemand("default/a"), 0.0, ("", None), needed_by).state

    assert state_of("default/web") == f"{shown}, awake for web"
    assert state_of("shop/web") == f"{shown}, awake for shop/web"
    assert state_of("") == shown


class _Engine:
    """The part of an engine that a view reads."""

    near_host = "127.0.0.1"
    rpc_addresses: tuple[str, ...] = ()
    proxy_ports = (8080,)
    proxy_tls_ports: tuple[int, ...] = ()
    authority: Path | None = None
    outside: tuple[Any, ...] = ()

    def __init__(self, spec: str = HOSTILE_SPEC) -> None:
        self.file = parse_spec(spec, Path("apps.yaml"))
        self.spec = self.file.spec
        self.apps: list[Any] = []


def test_urls_of_https_and_what_to_trust_for_them() -> None:
    engine: Any = _Engine(HTTPS_SPEC)
    assert not https_lines(engine)
    engine.authority, engine.proxy_tls_ports = Path("/state/authority.crt"), (8443, 8444)
    urls, trust = https_lines(engine)
    assert urls == "https: https://localhost:8443/, https://shop.localhost:8443/b, https://e.localhost:8443/"
    assert "/state/authority.crt" in trust


def test_urls_where_nothing_listens_for_plaintext() -> None:
    engine: Any = _Engine("interceptor: {proxy_plaintext: 'off'}\n" + HTTPS_SPEC)
    engine.authority, engine.proxy_tls_ports = Path("/my state/authority.crt"), (8443, 8444)
    first, shop, headers, other, _ = curl_lines(engine)
    assert first == "curl --cacert '/my state/authority.crt' https://localhost:8443/"
    assert shop.endswith(" https://shop.localhost:8443/b")
    assert headers.endswith(" -H 'x: x' https://shop.localhost:8443/b")
    assert other.endswith(" -H 'Host: shop.test' https://localhost:8443/")
    assert title_of(engine) == "weir: https://localhost:8443/ lists the apps, and on 8444"
    assert way_to(engine.spec.apps[1], at_of(engine)) == ("https://shop.localhost:8443/b", "https://shop.localhost:8443/b")


def _written(reader: int) -> str:
    with os.fdopen(reader, "rb") as file:
        return file.read().decode()


@pytest.mark.parametrize("live", [False, True], ids=["plain", "live"])
@pytest.mark.usefixtures("_root")
async def test_what_others_have_written_acts_on_no_terminal(live: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end)
    view = _live(writer) if live else PlainView(writer)
    lines = Lines(lambda lines: view.tell("a/1", lines), AtOnce())
    lines.data_received(HOSTILE.encode() + b"\n\x1b[" + b"9" * 5000 + b"m\n\x1b[38;2;1mx\x1b[;;mx\n")
    logging.getLogger("example").warning("peer says %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("example").exception("failed")
    view.ready(cast("Any", _Engine()))
    view.leave()
    writer.close()
    os.close(write_end)
    text = _written(reader)
    for part in ("peer says", "ValueError", "try: curl", "a/1 | "):
        assert part in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "[red]" in text
    assert not acting(text, colours=True, lines=True)
    assert not acting(capsys.readouterr().out, lines=True)


def _live(writer: ThreadedWriter) -> LiveView:
    return LiveView(Console(file=cast("IO[str]", writer), force_terminal=True, color_system="standard", width=4000), writer)


LINES = [f"line {number}" for number in range(10_000)]


@pytest.mark.usefixtures("_root")
async def test_the_plain_view_tells_every_line_of_many() -> None:
    text = await _told(PlainView, LINES)
    assert text == [f"a/1 | {line}" for line in LINES]


@pytest.mark.usefixtures("_root")
async def test_the_live_view_tells_the_first_and_the_last_and_how_many_there_were_between() -> None:
    text = await _told(_live, LINES)
    left_out = f"… {len(LINES) - ROWS - LAST:,} lines left out"
    assert text == [f"a/1 | {line}" for line in [*LINES[:ROWS], left_out, *LINES[-LAST:]]]


async def _told(view_of: Callable[[ThreadedWriter], View], lines: Sequence[str]) -> list[str]:
    """The lines that are shown, without colours, if they arrive faster than they can be shown."""
    configure_logging("info")
    reader, write_end = os.pipe()
    reading = asyncio.create_task(asyncio.to_thread(_written, reader))
    writer = ThreadedWriter(write_end)
    view = view_of(writer)
    for start in range(0, len(lines), 10):
        view.tell("a/1", lines[start : start + 10])
    view.leave()
    await asyncio.to_thread(writer.close)
    os.close(write_end)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", await reading).splitlines()


@pytest.mark.usefixtures("_root")
async def test_many_lines_are_one_write_above_the_live_table_and_come_before_what_the_log_says_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end)
    view = _live(writer)
    printed: list[object] = []
    monkeypatch.setattr(view._console, "print", lambda *what, **how: printed.append(what))
    for number in range(ROWS):
        view.tell("a/1", [f"line {number}"])
    assert printed == []
    logging.getLogger("example").error("ended")
    assert len(printed) == 2
    assert "ended" in str(printed[1])
    view.tell("a/1", ["too much"])
    view.leave()
    assert len(printed) == 3
    writer.close()
    os.close(write_end)
    os.close(reader)


@pytest.mark.usefixtures("_root")
async def test_a_terminal_that_is_behind_gets_nothing_until_it_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers = list[tuple[float, Callable[[], None]]]()
    writer = cast("Any", SimpleNamespace(waiting=BEHIND))
    view = LiveView(Console(file=StringIO(), force_terminal=True, width=200), writer)

    def later(delay: float, callback: Callable[[], None]) -> object:
        timers.append((delay, callback))
        return callback

    monkeypatch.setattr(loop, "call_later", later)
    view.tell("a/1", LINES)
    assert [delay for delay, _ in timers] == [FLUSH, PERIOD]
    for _, callback in timers[:]:
        callback()
    assert [delay for delay, _ in timers] == [FLUSH, PERIOD] * 2
    assert _shown(view) == ""
    view.tell("a/1", LINES)  # still in the same period
    writer.waiting = BEHIND - 1
    for _, callback in timers[2:]:
        callback()
    assert f"a/1 | … {2 * len(LINES) - ROWS - LAST:,} lines left out\n" in _shown(view)
    assert len(timers) == 4


def _shown(view: LiveView) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", cast("StringIO", view._console.file).getvalue())


@pytest.fixture
def _root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_root")
async def test_lines_of_apps_are_json_where_the_log_is(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", json=True)
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end)
    view = PlainView(writer, json=True)
    view.tell("a/1", [f"one {HOSTILE}"])
    view.ready(cast("Any", _Engine()))
    writer.close()
    os.close(write_end)
    first, second = [json.loads(line) for line in _written(reader).split("\n")[:-1]]
    assert (first["logger"], first["level"], first["message"][:3]) == ("a/1", "INFO", "one")
    assert not acting(first["message"])
    assert second["message"].startswith("try: curl")
    assert capsys.readouterr().out == "ready\n"
