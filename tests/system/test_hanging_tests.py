"""A test that hangs is named, and the run goes on: two ways in which one did hang until the whole run was cut off."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.loops import LOOPS

ROOT = Path(__file__).parents[2]
CONFTEST = """
import pytest
import uvloop
from tests.support import hangs

def pytest_configure(config):
    config.pluginmanager.register(hangs)

@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    # Not before: a slow machine may need longer than that to come here, and to report what has failed.
    hangs.GRACE = 1 if "never" in item.fixturenames else 30
    return (yield)

def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop}
"""
WAITS = """
import asyncio
import pytest

@pytest.mark.timeout(2)
async def test_waits():
    await asyncio.Event().wait()
"""
ENDS_NEVER = """
import threading
import pytest

@pytest.fixture
def never():
    yield
    threading.Event().wait()

@pytest.mark.timeout(1)
def test_fails(never):
    assert False

def test_passes():
    pass
"""


def run(directory: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(directory), str(directory)]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_coroutine_that_waits_for_ever_on_uvloop(tmp_path: Path) -> None:
    ended = run(tmp_path, WAITS)
    assert "TimeoutError: the test still waited after 2 s" in ended.stdout
    assert "await asyncio.Event().wait()" in ended.stdout
    assert ended.returncode == 1


def test_what_ends_a_failed_test_and_does_not_end_itself(tmp_path: Path) -> None:
    ended = run(tmp_path, ENDS_NEVER, "--numprocesses", "1")
    assert "Timeout (0:00:02)!" in ended.stderr
    assert "in never" in ended.stderr
    assert "crashed while running" in ended.stdout
    assert "1 passed" in ended.stdout
    assert ended.returncode == 1


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_server_that_a_test_leaves_open_is_an_error_and_no_hang() -> None:
    runner = asyncio.Runner(loop_factory=LOOPS["uvloop"])
    left = runner.run(_listen())
    with pytest.raises(ResourceWarning, match="TCPServer"):
        runner.close()
    del left


async def _listen() -> asyncio.Server:
    return await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
