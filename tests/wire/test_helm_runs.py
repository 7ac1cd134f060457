"""The bounds of one run of helm, by programs in its place that keep to none: each ends, and nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from controller.admin.problems import Refused
from controller.admin.releases import helm as module
from controller.admin.releases.helm import Helm, HelmFailed, HelmSlow
from tests.support.waiting import until


def program(directory: Path, code: str) -> Helm:
    """A program of this Python in place of helm."""
    at = directory / "helm"
    at.write_text(f"#!{sys.executable} -IS\n{code}\n")
    at.chmod(0o755)
    return Helm(str(at))


async def run(helm: Helm, *, seconds: float = 60, user: str = "") -> bytes:
    async with helm.workspace(user) as workspace:
        return await helm.run(workspace, "status", seconds=seconds)


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_what_takes_too_long_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-IS", "-c", "import signal; signal.pause()"])
with open({str(pids)!r} + ".new", "w") as file: file.write(f"{{os.getpid()}} {{child.pid}}")
os.rename({str(pids)!r} + ".new", {str(pids)!r})
signal.pause()"""
    running = asyncio.create_task(run(program(tmp_path, code), seconds=0.5))
    with pytest.raises(HelmSlow, match=r"helm status was ended after 0\.5 s"):
        await running
    if pids.exists():  # a busy machine may have ended it before
        for pid in pids.read_text().split():
            await until(partial(has_ended, int(pid)))


async def test_output_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = program(tmp_path, "import sys\nwhile True: sys.stdout.write('a' * 65536)")
    async with helm.workspace() as workspace:
        with pytest.raises(HelmSlow, match="has written more than 1000000 bytes"):
            await helm.run(workspace, "template", seconds=60, most=1_000_000)


async def test_of_a_flood_of_errors_the_last_ones_are_kept(tmp_path: Path) -> None:
    code = """
import sys
for _ in range(200): sys.stderr.write("noise " * 2000)
sys.stderr.write("\\nError: \\x1b[2Jno luck")
sys.exit(1)"""
    with pytest.raises(HelmFailed) as failed:
        await run(program(tmp_path, code))
    assert "no luck" in str(failed.value)
    assert "\x1b" not in str(failed.value)
    assert len(str(failed.value)) <= module.MAX_REASON


async def test_more_memory_than_is_permitted(tmp_path: Path) -> None:
    with pytest.raises(HelmFailed):
        await run(program(tmp_path, f"b = bytearray({2 * module.MAX_MEMORY})\nprint('got it')"))


async def test_a_larger_file_than_is_permitted(tmp_path: Path) -> None:
    code = f"""
with open("large", "wb") as file:
    for _ in range({2 * module.MAX_FILE} >> 20): file.write(bytes(1 << 20))
print("written")"""
    with pytest.raises(HelmFailed):
        await run(program(tmp_path, code))


async def test_a_call_without_a_place_in_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACE_SECONDS", 0.1)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    helm = program(tmp_path, f"open({str(gate)!r})")  # waits for somebody who writes
    runs = [asyncio.create_task(run(helm, user=str(number))) for number in range(module.MAX_RUNS)]
    await until(helm._places._free.locked)
    with pytest.raises(Refused) as refused:
        await run(helm)
    assert (refused.value.status, refused.value.problem.type) == (503, "urn:weir:problem:too-many")
    writer = os.open(gate, os.O_RDWR)
    assert await asyncio.gather(*runs) == [b""] * module.MAX_RUNS
    assert await run(helm) == b"", "places are given back"
    os.close(writer)


async def test_one_user_leaves_places_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACE_SECONDS", 0.1)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    slow, quick = program(tmp_path, f"open({str(gate)!r})"), tmp_path / "quick"
    quick.mkdir()
    helm = program(quick, "")
    helm._places, helm._workspaces = slow._places, slow._workspaces
    runs = [asyncio.create_task(run(slow, user="eve")) for _ in range(module.MAX_RUNS_OF_USER)]
    await until(lambda: bool(slow._places._users) and slow._places._users["eve"][0].locked())
    with pytest.raises(Refused, match="too often at once, by eve"):
        await run(helm, user="eve")
    assert await run(helm, user="adam") == b""
    writer = os.open(gate, os.O_RDWR)
    assert await asyncio.gather(*runs) == [b""] * len(runs)
    os.close(writer)
    assert (slow._places._users, slow._workspaces._users) == ({}, {})


async def test_operations_at_once_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may have a large chart in the volume for helm's files, and a pod whose volume is full is evicted."""
    monkeypatch.setattr(module, "PLACE_SECONDS", 0.05)
    helm = program(tmp_path, "")
    async with AsyncExitStack() as held:
        for _ in range(module.MAX_WORKSPACES_OF_USER):
            await held.enter_async_context(helm.workspace("eve"))
        with pytest.raises(Refused, match="too often at once, by eve") as refused:
            await held.enter_async_context(helm.workspace("eve"))
        assert refused.value.status == 503
        for number in range(module.MAX_WORKSPACES - module.MAX_WORKSPACES_OF_USER):
            await held.enter_async_context(helm.workspace(str(number)))
        with pytest.raises(Refused, match="too often at once"):
            await held.enter_async_context(helm.workspace("adam"))
    async with helm.workspace("eve"):
        pass


async def test_nothing_of_the_controllers_environment_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_SECRET", "hush")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    at = tmp_path / "at"
    code = f"import os\nprint(sorted(os.environ)); os.symlink(os.getcwd(), {str(at)!r})"
    told = (await run(program(tmp_path, code))).decode()
    assert "WEIR_SECRET" not in told
    assert "HTTPS_PROXY" in told
    assert at.is_symlink()
    assert not at.exists(), "its directory is removed"
