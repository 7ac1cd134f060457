"""What the flags of `weir preview create` say."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from weir.apps.failure import INVALID, NOT_DONE, USAGE, NotDoneError, UsageError
from weir.cli import app
from weir.previews.document import preview_document
from weir.previews.run import _span


def test_flags_come_on_top_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "preview.yaml"
    file.write_text("base: web\nname: f1\nenvironment: {A: '1', B: '2'}\nreplicas: {max: 3}\nttl: 72h\n")
    assert preview_document(
        file=file, name="f2", env=("B=3", "C==="), min=1, ttl=None, image=None, copy_namespace="qa", limit=("memory=1Gi",)
    ) == {
        "base": "web",
        "name": "f2",
        "environment": {"A": "1", "B": "3", "C": "=="},
        "replicas": {"min": 1, "max": 3},
        "resources": {"limits": {"memory": "1Gi"}},
        "ttl": "72h",
        "copy_namespace": "qa",
    }


@pytest.mark.parametrize(("base", "name", "missing"), [(None, "f1", "--base"), ("web", None, "--name"), ("", "f1", "--base")])
def test_a_base_and_a_name_are_needed(base: str | None, name: str | None, missing: str) -> None:
    with pytest.raises(UsageError, match=missing):
        preview_document(base=base, name=name)


@pytest.mark.parametrize("name", ["FEATURE/1", "a--b", "xn", "a" * 64])
def test_a_name_is_one_of_a_preview(name: str) -> None:
    with pytest.raises(NotDoneError, match=r"--name: .* is no name of a preview") as caught:
        preview_document(base="web", name=name)
    assert caught.value.code == INVALID


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["list"], USAGE, "previews are objects of a cluster, and there is no kubeconfig: --server with --token names an Admin "),
        (["delete", "web--f1"], USAGE, "previews of a file are its previews:, and weir up FILE serves them"),
        (["create"], USAGE, "--base is missing"),
        (["create", "--base", "web"], USAGE, "--name is missing"),
        (["create", "--base", "web", "--name", "FEATURE/1"], INVALID, "--name: 'FEATURE/1' is no name of a preview"),
        (["list", "--local", "--cluster"], USAGE, "--local and --cluster"),
        (["show", "web--f1", "--local"], NOT_DONE, "no weir up runs here"),
    ],
)
def test_what_is_wrong_is_told_before_a_cluster_is_looked_for(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("WEIR_TOKEN", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    ended = CliRunner().invoke(app, ["preview", *arguments])
    assert (ended.exit_code, ended.stdout) == (code, "")
    assert said in ended.stderr
    assert "no weir up runs here, and" not in ended.stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [("0", "0s"), ("59", "59s"), ("60", "1m0s"), ("3600", "1h0m"), ("86400", "1d0h"), ("93784", "1d2h"), ("junk", "0s")],
)
def test_time_left(seconds: str, text: str) -> None:
    assert _span(seconds) == text
