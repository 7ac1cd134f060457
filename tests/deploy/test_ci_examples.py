"""The examples for CI: their scripts, run by a shell with another `docker` and `weir`, type commands that `weir` takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.support.manifests import DEPLOY
from weir.cli import app
from weir.previews import run

EXAMPLES = DEPLOY / "examples" / "ci"
URL = "http://f1.web.example.com/"
GIVEN = {
    "github.event.number": "7",
    "github.event.pull_request.head.sha": "abc",
    "github.repository": "acme/web",
    "secrets.WEIR_TOKEN": "t",
    "vars.WEIR_IMAGE": "registry.example.com/weir:1",
    "vars.WEIR_SERVER": "https://weir.example.com:9092",
}


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., list[list[str]]]:
    """Runs a script; returns the arguments of `docker` and `weir`."""
    log = tmp_path / "log"
    for name in ("docker", "weir"):
        program = tmp_path / name
        lines = (
            f"#!{sys.executable}",
            "import json, sys",
            f"with open({str(log)!r}, 'a') as log:",
            "    print(json.dumps(sys.argv), file=log)",
            f"print({URL!r})",
        )
        program.write_text("\n".join(lines))
        program.chmod(0o755)

    def typed(script: Sequence[str], **environment: str) -> list[list[str]]:
        log.write_text("")
        env = {**environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run(script, env=env, check=True, capture_output=True, timeout=60)
        return [json.loads(line) for line in log.read_text().splitlines()]

    return typed


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], dict[str, Any]]:
    """What `weir` makes of arguments."""
    found: dict[str, Any] = {}

    def created(where: Any, asked: Any, how: Any, *, replace: bool) -> int:
        found.update(server=where.server, namespace=where.namespace, replace=replace, wake=how.wake)
        found.update({name: value for name, value in asked.items() if value})
        return 0

    def deleted(where: Any, name: str, base: str, how: Any, *, ignore_missing: bool) -> int:
        found.update(server=where.server, namespace=where.namespace, name=name, base=base, ignore_missing=ignore_missing)
        return 0

    monkeypatch.setattr(run, "run_create", created)
    monkeypatch.setattr(run, "run_delete", deleted)

    def call(arguments: Sequence[str]) -> dict[str, Any]:
        found.clear()
        ended = CliRunner().invoke(app, [*arguments])
        assert ended.exit_code == 0, ended.output
        return dict(found)

    return call


def evaluated(text: str) -> str:
    """What GitHub makes of a text with expressions."""
    return re.sub(r"\$\{\{ (\S+) \}\}", lambda match: GIVEN[match[1]], text)


def test_the_workflow_of_github(
    shell: Callable[..., list[list[str]]], called: Callable[[Sequence[str]], dict[str, Any]], tmp_path: Path
) -> None:
    workflow = yaml.safe_load((EXAMPLES / "github.yaml").read_text())
    environment = {name: evaluated(text) for name, text in workflow["env"].items()}
    output = tmp_path / "output"
    steps = {name: job["steps"] for name, job in workflow["jobs"].items()}
    (create,) = [step["run"] for step in steps["create"] if step.get("id") == "preview"]
    (typed,) = shell(["bash", "-e", "-o", "pipefail", "-c", create], GITHUB_OUTPUT=str(output), **environment)
    assert typed[1:6] == ["run", "--rm", "--env", "WEIR_TOKEN", "registry.example.com/weir:1"]
    where = {"server": "https://weir.example.com:9092", "namespace": "shop"}
    assert called(typed[6:]) == {
        **where,
        "replace": True,
        "wake": True,
        "base": "web",
        "name": "pr-7",
        "image": "ghcr.io/acme/web:abc",
        "ttl": "72h",
    }
    assert output.read_text() == f"url={URL}\n"
    ((delete,),) = [shell(["bash", "-e", "-c", step["run"]], **environment) for step in steps["delete"]]
    assert called(delete[6:]) == {**where, "name": "pr-7", "base": "web", "ignore_missing": True}


def test_the_helmfile(shell: Callable[..., list[list[str]]], called: Callable[[Sequence[str]], dict[str, Any]]) -> None:
    (release,) = yaml.safe_load((EXAMPLES / "helmfile.yaml").read_text())["releases"]
    (hook,) = release["hooks"]
    script = [hook["command"], *hook["args"]]
    assert shell(script) == []
    where = {"server": None, "namespace": release["namespace"]}
    (create,) = shell(script, BRANCH="f1", IMAGE="web:f1")
    assert called(create[1:]) == {
        **where,
        "replace": True,
        "wake": True,
        "base": "web",
        "name": "f1",
        "image": "web:f1",
        "ttl": "72h",
    }
    (delete,) = shell(script, BRANCH="f1", CLOSED="true")
    assert called(delete[1:]) == {**where, "name": "f1", "base": "web", "ignore_missing": True}
