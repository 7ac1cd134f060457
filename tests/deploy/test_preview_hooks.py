"""The examples of hooks: the controller takes them, and what they make is what they remove, however often they run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support import hook_programs
from tests.support.hook_examples import HOOK_EXAMPLES, jobs_of, preview_of, run_hook

OWN = {"kafka": {"topic": "ORDERS_TOPIC"}, "localstack": {"bucket": "BUCKET", "queue": "QUEUE"}}
"""What is made, and the variable that says its name to the application."""


@pytest.mark.parametrize("example", HOOK_EXAMPLES)
def test_the_controller_takes_them(example: str) -> None:
    preview = preview_of(example)
    assert preview.problem is None
    before, after = jobs_of(preview)
    assert before
    assert after
    for job in (*before.values(), *after.values()):
        assert job["spec"]["backoffLimit"], "the other side may not be there yet"
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["command"][:2] == ["sh", "-ec"], "a step that fails fails the hook"
        assert {"name": "WEIR_PREVIEW", "value": "feature1"} in container["env"]


@pytest.mark.parametrize("example", OWN)
def test_what_is_made_is_what_is_removed_however_often(example: str, tmp_path: Path) -> None:
    for name in ("aws", "kafka-topics.sh"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {hook_programs.__file__} "$0" "$@"\n')
        program.chmod(0o755)
    preview = preview_of(example)
    before, after = jobs_of(preview)
    others = [["bucket", "shop-feature1-b"], ["queue", "shop-feature11"], ["queue", "my-shop-feature1"], ["topic", "orders"]]
    state = tmp_path / "state"
    state.write_text(json.dumps(others))
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    replaced = {"/opt/kafka/bin": str(tmp_path)}
    assert preview.overrides.env is not None
    wanted = [[kind, preview.overrides.env[variable]] for kind, variable in OWN[example].items()]
    for _ in range(2):
        for job in before.values():
            ended = run_hook(job, path, replaced)
            assert ended.returncode == 0, ended.stderr
        assert sorted(json.loads(state.read_text())) == sorted([*others, *wanted])
    for _ in range(2):
        for job in after.values():
            ended = run_hook(job, path, replaced)
            assert ended.returncode == 0, ended.stderr
        assert sorted(json.loads(state.read_text())) == sorted(others)
    for job in (*before.values(), *after.values()):
        ended = run_hook(job, {**path, "AWS_ENDPOINT_URL": "down", "KAFKA": "down"}, replaced)
        assert ended.returncode != 0, "what cannot be reached is not taken for what is not there"
