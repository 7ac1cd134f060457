"""The overlays as kustomize builds them, once for all tests that look at them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.manifests import DEPLOY, Manifests, build, kustomize

OVERLAYS = ("default", "single-namespace", "tls")


@pytest.fixture(scope="session")
def program() -> Path:
    if shutil.which("go") is None:
        pytest.skip("go is not installed, and kustomize is built by it")
    return kustomize()


@pytest.fixture(scope="session")
def overlay_of(program: Path) -> Callable[[str], Manifests]:
    return cache(lambda name: build(program, DEPLOY / "overlays" / name))


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, overlay_of: Callable[[str], Manifests]) -> Manifests:
    """Each overlay in turn."""
    return overlay_of(request.param)
