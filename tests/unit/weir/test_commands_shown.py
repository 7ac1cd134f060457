"""How `weir queue` and `weir explain` print text from others."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc import aio
from typer.testing import CliRunner

from fleet.routing.codec import encode_json
from fleet.routing.route import HeaderMatch, Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.support.acting import HOSTILE, acting
from weir.cli import app
from weir.dial import PLAIN
from weir.queue import _show
from weir.queue_reader import AppDemand, Queues

SENDABLE = "".join(char for char in HOSTILE if char >= "\x80")
"""Characters that a path or a header value may contain."""


@pytest.mark.parametrize("as_json", [False, True])
def test_queue_shows_what_interceptors_say(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    queues = Queues({HOSTILE: AppDemand(HOSTILE, held=7)}, [HOSTILE, "[/x]"], {HOSTILE: HOSTILE})
    _show({HOSTILE: queues}, as_json=as_json)
    out, err = capsys.readouterr()
    assert "owned" in out
    assert "[red][/x]" in "".join(out.split()).replace("│", "")
    assert not acting(out, colours=True, lines=True)
    assert not acting(err, lines=True)
    assert err.count("\n") == 1


def test_why_a_call_failed_is_one_line() -> None:
    error = aio.AioRpcError(grpc.StatusCode.INTERNAL, aio.Metadata(), aio.Metadata(), details=HOSTILE)
    assert not acting(PLAIN.problem(error))


def test_explain_shows_routes_of_others(tmp_path: Path) -> None:
    rule = Rule(hosts=("a.test",), paths=(f"/{SENDABLE}",), headers=(HeaderMatch("x", SENDABLE),))
    table = tmp_path / "routes.json"
    table.write_bytes(encode_json(RoutingTable([Route("default/a", Target("default/a"), rules=(rule,))])))
    ended = CliRunner().invoke(app, ["explain", "a.test", f"/{SENDABLE}\x1b[2J", "--file", str(table)])
    assert "header x is missing" in ended.stdout or "no path prefix fits" in ended.stdout
    taken = CliRunner().invoke(app, ["explain", "a.test", f"/{SENDABLE}", "-H", f"x:{SENDABLE}", "--file", str(table)])
    assert taken.stdout.endswith("-> default/a\n")
    for text in (ended.output, taken.output):
        assert not acting(text, lines=True)


def test_explain_takes_bytes_that_are_no_text(tmp_path: Path) -> None:
    """In the form in which Python passes command-line arguments."""
    file = tmp_path / "apps.yaml"
    file.write_text("apps: [{name: a, hosts: [a.test], paths: [/é], command: x}]\n")
    ended = CliRunner().invoke(app, ["explain", "b.test", "/\udcc3\udca9", "-H", "x:\udcff", "--file", str(file)])
    assert ended.exit_code == 1
    assert ended.stdout.splitlines()[0] == r"host b.test, path /\xc3\xa9"
    ended = CliRunner().invoke(app, ["explain", "\udcff", "--file", str(file)])
    assert (ended.exit_code, ended.stderr) == (
        3,
        r"'\udcff' is not a host: it is not ASCII; write the form with xn-- that clients send" + "\n",
    )
    ended = CliRunner().invoke(app, ["explain", "a.test", "/\udcc3\udca9", "--file", str(file)])
    assert ended.stdout.splitlines()[-1] == "-> default/a"


def test_a_file_of_apps_from_somebody_else_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "apps.yaml"
    file.write_text('apps: [{name: a, hosts: [a], command: x, "\\e[2J\\x9b2J\\L\\u202e": 1}]\n')
    for command in (["up", str(file)], ["explain", "a", "--file", str(file)]):
        ended = CliRunner().invoke(app, command)
        assert ended.exit_code == 3
        assert ended.output.count("\n") == 1
        assert not acting(ended.output, lines=True)


def test_explain_asks_for_a_method(tmp_path: Path) -> None:
    table = tmp_path / "table.yaml"
    table.write_text(
        "routes:\n- {app: a/reads, target: {service: a/a}, rules: [{hosts: [a.test], methods: [GET]}]}\n"
        "- {app: a/all, target: {service: a/a}, rules: [{hosts: [a.test]}]}\n"
    )
    reads = CliRunner().invoke(app, ["explain", "a.test", "--file", str(table)])
    assert reads.stdout.endswith("-> a/reads\n")
    writes = CliRunner().invoke(app, ["explain", "a.test", "-X", "POST", "--file", str(table)])
    assert "GET a.test/: not a/reads, the method is another" in writes.stdout
    assert writes.stdout.endswith("-> a/all\n")


@pytest.mark.parametrize("dropped", [0, 12])
def test_the_queue_has_a_column_of_dropped_datagrams_if_there_are_any(capsys: pytest.CaptureFixture[str], dropped: int) -> None:
    _show({"": Queues({"n/a": AppDemand("n/a", dropped_total=dropped)}, ["one"])}, as_json=False)
    out = capsys.readouterr().out
    assert ("dropped" in out, "12" in out) == (bool(dropped), bool(dropped))
