"""Engines are tested on both families of addresses: each test on one of the two, and at full size on both."""

from __future__ import annotations

from zlib import crc32

import pytest

from tests.support.full import FULL
from tests.system import harness

FAMILIES = {"IPv4": "127.0.0.1", "IPv6": "::1"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    runs_engines = getattr(metafunc.module, "running_up", None) is harness.running_up
    if not runs_engines or metafunc.definition.path.stem == "test_addresses":  # which choose for themselves
        return
    chosen = list(FAMILIES) if FULL else [list(FAMILIES)[crc32(metafunc.function.__name__.encode()) % 2]]
    metafunc.parametrize("family", chosen, indirect=True)


@pytest.fixture(autouse=True)
def family(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "address", FAMILIES[getattr(request, "param", "IPv4")])
