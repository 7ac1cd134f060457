"""The example of hooks with a real PostgreSQL: a database is made and dropped, however often they run, and while it is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hook_examples import jobs_of, preview_of, run_hook

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
pytestmark = pytest.mark.skipif(BINARIES is None or shutil.which("psql") is None, reason="needs PostgreSQL")
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
"""PostgreSQL refuses to run as root."""
PATIENCE = 120


def control(data: Path, *words: str) -> None:
    command = [*AS_NOBODY, f"{BINARIES}/pg_ctl", "--pgdata", str(data), "--wait", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=data.parent, timeout=PATIENCE)


@pytest.fixture
def server() -> Iterator[dict[str, str]]:
    """The variables with which clients find one, at a socket in a directory."""
    directory = Path(tempfile.mkdtemp(prefix="weir-pg-"))
    data = directory / "data"
    try:
        if AS_NOBODY:
            os.chown(directory, 65534, 65534)
        made = [*AS_NOBODY, f"{BINARIES}/initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=directory, timeout=PATIENCE)
        control(data, "--options", f"-k {directory} -h '' -c fsync=off", "start")
        try:
            yield {"PGHOST": str(directory), "PGUSER": "postgres"}
        finally:
            control(data, "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(directory)


def databases(server: dict[str, str]) -> set[str]:
    command = ["psql", "-XAt", "-d", "postgres", "-c", "SELECT datname FROM pg_database"]
    found = subprocess.run(command, env={**os.environ, **server}, check=True, capture_output=True, text=True, timeout=PATIENCE)
    return set(found.stdout.split()) - {"postgres", "template0", "template1"}


def test_a_database_comes_and_goes_with_its_preview(server: dict[str, str]) -> None:
    preview = preview_of("postgresql")
    (before,), (after,) = (jobs.values() for jobs in jobs_of(preview))
    assert preview.overrides.env is not None
    name = preview.overrides.env["PGDATABASE"]
    for _ in range(2):
        ended = run_hook(before, server)
        assert ended.returncode == 0, ended.stderr
        assert databases(server) == {name}
    command = ["psql", "-X", "-d", name, "-c", "SELECT 'in use'", "-c", "SELECT pg_sleep(600)"]
    user = subprocess.Popen(command, env={**os.environ, **server}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert user.stdout is not None
        assert any("in use" in line for line in user.stdout), "it is connected"
        for _ in range(2):
            ended = run_hook(after, server)
            assert ended.returncode == 0, ended.stderr
            assert databases(server) == set()
        assert user.wait(PATIENCE) != 0, "its connection has ended"
    finally:
        user.kill()
        user.wait(PATIENCE)
        assert user.stdout is not None
        user.stdout.close()
    for job in (before, after):
        assert run_hook(job, {**server, "PGHOST": "/nowhere"}).returncode != 0
