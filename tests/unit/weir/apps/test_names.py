"""Completions are no errors, and no waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from weir.apps import names as module
from weir.apps.failure import NotDoneError
from weir.apps.names import names


def test_what_swallows_every_exception_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As finalisers do: whatever is raised in them is printed and forgotten."""
    over = threading.Event()

    @contextmanager
    def stubborn(_: object) -> Iterator[object]:
        while not over.is_set():
            with suppress(BaseException):
                over.wait(60)
        raise NotDoneError("over")
        yield

    monkeypatch.setattr(module, "SECONDS", 0.2)
    monkeypatch.setattr(module, "opened", stubborn)
    began = time.monotonic()
    try:
        assert names({"local": True}, "w") == []
        assert time.monotonic() - began < 60
    finally:
        over.set()


def test_without_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path))
    assert names({"kubeconfig": "/none"}, "w") == []
    assert names({"local": True, "cluster": True}, "w") == []
