"""Completions are no errors, and no waiting."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from weir.apps import names as module
from weir.apps.names import names


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        typed = {"server": f"http://127.0.0.1:{silent.getsockname()[1]}", "token": "t", "output": "text", "name": None}
        assert names(typed, "w") == []
        assert time.monotonic() - began < 5


def test_without_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path))
    assert names({"kubeconfig": "/none"}, "w") == []
    assert names({"local": True, "cluster": True}, "w") == []
