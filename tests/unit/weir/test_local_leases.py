"""`weir port` beside several `weir up`: which one is meant, what is printed, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from weir.apps.where import Where
from weir.local import EngineError, EngineRefused, EngineSilent
from weir.ports import run
from weir.running import Running

LOCAL = Where(local=True)
TEAM = Where(local=True, namespace="team")
ONE = Running(pid=1, file="/one.yaml", state_directory="", url="", token="")
TWO = Running(pid=2, file="/two.yaml", state_directory="", url="", token="")


def lease(namespace: str, name: str, port: int) -> dict[str, Any]:
    return {"namespace": namespace, "name": name, "id": f"tcp-{port}", "protocol": "TCP", "port": port, "app": None}


class Engines:
    """Those that run, with their leases."""

    def __init__(self) -> None:
        self.leases = {
            ONE.file: [lease("default", "foo", 20_001), lease("team", "foo", 20_002)],
            TWO.file: [lease("default", "bar", 20_003)],
        }
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.trouble: EngineError | None = None

    def running(self, of: Path | None) -> list[Running]:
        return [engine for engine in (ONE, TWO) if of is None or str(of) == engine.file]

    def ask(self, engine: Running, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        assert what == "ports"
        if self.trouble is not None:
            raise self.trouble
        if body["action"] == "list":
            return {"items": self.leases[engine.file]}
        self.asked.append((engine.file, body))
        return {**lease(body["namespace"], body["name"], 20_009), "created": False}


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    made = Engines()
    monkeypatch.setattr(run, "engines", made.running)
    monkeypatch.setattr(run, "ask_engine", made.ask)
    return made


def test_the_list_says_the_namespaces(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.run_list(LOCAL, "text") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["NAMESPACE", "NAME"]
    assert [row.split()[:2] for row in rows] == [["default", "foo"], ["team", "foo"], ["default", "bar"]]
    assert run.run_list(TEAM, "json") == 0
    assert [item["port"] for item in json.loads(capsys.readouterr().out)] == [20_002]


@pytest.mark.parametrize(
    ("where", "name", "found"),
    [
        (LOCAL, "tcp-20002", (ONE, "team", "foo")),
        (LOCAL, "bar", (TWO, "default", "bar")),
        (TEAM, "foo", (ONE, "team", "foo")),
    ],
)
def test_a_release_finds_the_one_that_has_it(
    engines: Engines, capsys: pytest.CaptureFixture[str], where: Where, name: str, found: tuple[Running, str, str]
) -> None:
    engine, namespace, called = found
    assert run.run_release(where, name, "text") == 0
    assert engines.asked == [(engine.file, {"action": "release", "namespace": namespace, "name": called})]
    assert capsys.readouterr().out == f"{namespace}/{name} is released\n"


def test_a_lease_that_one_of_them_has_is_that_one(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"protocol": "TCP"}
    assert run.run_lease(LOCAL, {"name": "bar", **asked}, "text") == 0
    assert [file for file, _ in engines.asked] == [TWO.file]
    assert run.run_lease(LOCAL, {"name": "new", **asked}, "text") == 1
    assert "several weir up run here: --of FILE says which, /one.yaml, /two.yaml" in capsys.readouterr().err
    engines.leases[ONE.file] += engines.leases[TWO.file]
    assert run.run_lease(LOCAL, {"name": "bar", **asked}, "text") == 1
    assert "several weir up have it: --of FILE says which" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("where", "name", "expected"),
    [
        (LOCAL, "nobody", (4, "there is no lease nobody")),
        (TEAM, "bar", (4, "there is no lease bar in namespace team")),
        (LOCAL, "foo", (2, "several leases are called foo")),
        (LOCAL, "Bad Name!", (2, "Bad Name!: a name is at most 63 of a-z, 0-9 and -")),
        (Where(of=Path("/nonexist.yaml")), "foo", (1, "no weir up runs /nonexist.yaml")),
    ],
)
def test_what_is_not_released(
    engines: Engines, capsys: pytest.CaptureFixture[str], where: Where, name: str, expected: tuple[int, str]
) -> None:
    code, told = expected
    assert run.run_release(where, name, "text") == code
    assert told in capsys.readouterr().err
    assert engines.asked == []


def test_other_exit_codes(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.run_lease(LOCAL, {"name": "Bad Name!", "protocol": "TCP"}, "text") == 2
    assert run.run_list(Where(of=Path("/nonexist.yaml")), "json") == 1
    found = capsys.readouterr()
    assert (found.out, "no weir up runs /nonexist.yaml" in found.err) == ("", True)
    for trouble, code in ((EngineRefused("no"), 5), (EngineSilent("ends"), 7), (EngineError("other"), 1)):
        engines.trouble = trouble
        assert run.run_list(LOCAL, "text") == code
