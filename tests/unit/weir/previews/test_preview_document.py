"""What the flags of `weir preview create` say."""

from __future__ import annotations

from pathlib import Path

import pytest

from weir.apps.failure import UsageError
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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [("0", "0s"), ("59", "59s"), ("60", "1m0s"), ("3600", "1h0m"), ("86400", "1d0h"), ("93784", "1d2h"), ("junk", "0s")],
)
def test_time_left(seconds: str, text: str) -> None:
    assert _span(seconds) == text
