"""Where the apps of a command are, by what was typed and what is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weir.apps.failure import NotDoneError
from weir.apps.where import Where, opened
from weir.cli import app
from weir.running import Running, registered


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("WEIR_TOKEN", raising=False)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[None]:
    """One that is registered, and answers nothing."""
    with registered(Running(os.getpid(), str(tmp_path / "apps.yaml"), str(tmp_path), "http://127.0.0.1:1", "x")):
        yield


CLUSTER: list[dict[str, Any]] = [
    {"cluster": True},
    {"namespace": "shop"},
    {"context": "c"},
    {"kubeconfig": "f"},
    {"server": "https://x"},
    {"token": "t"},
    {"ca": Path("f")},
    {"token_of": "a"},
    {"audience": "a"},
    {"weir_namespace": "w"},
]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("typed", CLUSTER, ids=str)
def test_a_cluster_that_is_named_wins_over_an_engine_that_runs(typed: dict[str, Any]) -> None:
    assert not Where(**typed).is_local()


@pytest.mark.usefixtures("engine")
def test_an_engine_that_runs_wins_otherwise() -> None:
    assert Where().is_local()


def test_without_an_engine() -> None:
    assert not Where().is_local()
    assert Where(local=True).is_local()
    assert Where(of=Path("x"), namespace="shop").is_local()


@pytest.mark.parametrize("typed", [each for each in CLUSTER if "namespace" not in each], ids=str)
def test_both_are_refused(typed: dict[str, Any]) -> None:
    for local in ({"local": True}, {"of": Path("x")}):
        with pytest.raises(NotDoneError, match="an app is in a weir up or in a cluster") as error:
            Where(**typed, **local).is_local()
        assert error.value.code == 2


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"server": "http://weir.example.com"}, "should be https, because the token would be read by everybody on the way"),
        ({"server": "http://127.0.0.1.example.com"}, "should be https"),
        ({"server": "http://localhost@example.com"}, "should be a URL"),
        ({"server": "ftp://localhost"}, "should be a URL"),
        ({"server": "https://"}, "should be a URL"),
        ({"server": "https://x:99999"}, "Port out of range"),
        ({"server": "https://x", "ca": Path("/none")}, "--ca /none: No such file or directory"),
        ({"server": "https://x", "token": "a\nb"}, "characters that no header may have"),
        ({"kubeconfig": "/none"}, "there is no kubeconfig"),
    ],
)
def test_what_cannot_be_used(typed: dict[str, Any], told: str) -> None:
    with pytest.raises(NotDoneError, match=told) as error, contextlib.ExitStack() as stack:
        stack.enter_context(opened(Where(**{"token": "t", **typed})))
    assert error.value.code == 2


@pytest.mark.parametrize(
    "command",
    [("create", "a", "--command", "x"), ("update", "a", "--max", "1"), ("list",), ("show", "a"), ("delete", "a"), ("wake", "a"),
     ("sleep", "a"), ("logs", "a")],
)  # fmt: skip
def test_when_none_runs(command: tuple[str, ...]) -> None:
    ended = CliRunner().invoke(app, ["app", *command, "--local"])
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1] == "no weir up runs here: weir up FILE starts one, and --cluster means a cluster"
    ended = CliRunner().invoke(app, ["app", *command, "--kubeconfig", "/none"])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "there is no kubeconfig" in ended.stderr
