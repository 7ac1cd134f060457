"""A real PostgreSQL behind TCP ports of `weir up`: psql with and without TLS, and pgbench while its processes are replaced."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.full import FULL
from tests.support.ports import free_port
from tests.system import harness
from tests.system.harness import Up, fleet, running_up, until

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
pytestmark = pytest.mark.skipif(
    BINARIES is None or shutil.which("psql") is None or shutil.which("pgbench") is None, reason="needs PostgreSQL"
)
SECONDS = 60 if FULL else 6
"""Of pgbench."""
NAME = "pg.localhost"
AS_USER = "setpriv --reuid=postgres --regid=postgres --clear-groups " if os.geteuid() == 0 else ""
"""PostgreSQL does not run as root."""


async def run(*command: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, **environment}
    )
    async with asyncio.timeout(harness.PATIENCE + SECONDS):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode().strip()


async def psql(port: int, sslmode: str, query: str = "select 6 * 7", **environment: str) -> tuple[int, str]:
    where = f"host={NAME} hostaddr={harness.address} port={port} dbname=postgres user=postgres sslmode={sslmode}"
    return await run("psql", "-X", "-A", "-t", "-c", query, where, **environment)


class Databases:
    """A directory in which each process of the application gets a copy of one database: so that two may run at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.template = directory / "template"

    async def create(self) -> None:
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
        words = f"{AS_USER}{BINARIES}/initdb -D {self.template} -U postgres -A trust -N --no-locale -E UTF8"
        code, said = await run(*words.split())
        assert code == 0, said

    def app(self, *ports: dict[str, Any], **fields: Any) -> dict[str, Any]:
        options = f"-p $PORT -h 127.0.0.1 -k '' -F -c shared_buffers=8MB -c max_connections=20 {fields.pop('options', '')}"
        command = (
            f"d=$(mktemp -d {self.directory}/XXXXXX) && cp -a {self.template}/. $d && chmod 700 $d && "
            f"{'chown postgres:postgres $d && ' if AS_USER else ''}cd / && exec {AS_USER}{BINARIES}/postgres -D $d {options}"
        )
        return {
            "name": "pg", "command": command, "cooldown": 1, "activity_period": 1, "drain": 30, "ports": list(ports),
            "readiness": {"command": f"exec {BINARIES}/pg_isready -h 127.0.0.1 -p $PORT"}, **fields
        }  # fmt: skip


@pytest.fixture
async def databases() -> AsyncIterator[Databases]:
    directory = Path(tempfile.mkdtemp(prefix="weir-pg-"))
    try:
        found = Databases(directory)
        await found.create()
        yield found
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def asleep(up: Up) -> None:
    await until(lambda: up.backends("pg") == [], what="asleep")


async def test_psql_wakes_it_with_and_without_tls(tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "authority"))
    root = str(tmp_path / "authority" / "authority.crt")
    plain, terminated = free_port(), free_port()
    file = fleet(databases.app({"port": plain}, {"port": terminated, "tls": "terminate"}), ports={"proxy_tls": 0})
    async with running_up(tmp_path, file, "--tls") as up:
        assert up.backends("pg") == []
        assert (await psql(terminated, "disable"))[0] == 2
        assert up.backends("pg") == [], "a client without TLS does not wake it"
        used = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        assert await psql(terminated, "verify-full", PGSSLROOTCERT=root) == (0, "42")
        assert await psql(plain, "disable") == (0, "42")
        assert await psql(plain, "prefer", used) == (0, "f")  # the server has no certificate, and declines
        assert await psql(terminated, "verify-full", used, PGSSLROOTCERT=root) == (0, "f")  # TLS has ended before it
        await asleep(up)


async def test_psql_is_led_by_its_name_to_a_server_that_speaks_tls_itself(tmp_path: Path, databases: Databases) -> None:
    number = free_port()
    certificate = databases.directory / "server.crt", databases.directory / "server.key"
    _certify(*certificate)
    options = f"-c ssl=on -c ssl_cert_file={certificate[0]} -c ssl_key_file={certificate[1]}"
    async with running_up(tmp_path, fleet(databases.app({"port": number, "server_names": [NAME]}, options=options))) as up:
        used = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        assert await psql(number, "require", used) == (0, "t")
        code, said = await psql(number, "disable")
        assert code == 2, said
        await asleep(up)


def _certify(cert: Path, key: Path) -> None:
    for path, pem in zip((cert, key), Authority().issue(NAME, NAME), strict=True):
        path.write_bytes(pem)
        path.chmod(0o600)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(path, owner.pw_uid, owner.pw_gid)


async def test_pgbench_keeps_its_connections_while_nothing_is_replaced(tmp_path: Path, databases: Databases) -> None:
    number = free_port()
    script = tmp_path / "query.sql"
    script.write_text("select sum(g) from generate_series(1, 100) g;\n")
    async with running_up(tmp_path, fleet(databases.app({"port": number}))) as up:
        assert up.backends("pg") == []
        code, said = await run(
            "pgbench", "-n", "-c", "4", "-T", str(SECONDS), "-f", str(script), "-h", harness.address, "-p", str(number),
            "-U", "postgres", "postgres",
        )  # fmt: skip
        assert code == 0, said
        assert "number of failed transactions: 0 (0.000%)" in said
        await asleep(up)


async def test_pgbench_does_not_see_that_its_server_is_replaced(tmp_path: Path, databases: Databases) -> None:
    number = free_port()
    script = tmp_path / "query.sql"
    script.write_text("select sum(g) from generate_series(1, 100) g;\n")
    async with running_up(tmp_path, fleet(databases.app({"port": number}, cooldown=30))) as up:
        bench = asyncio.create_task(
            run(
                "pgbench", "-n", "-C", "-c", "4", "-T", str(SECONDS), "-f", str(script), "-h", harness.address, "-p", str(number),
                "-U", "postgres", "postgres",
            )
        )  # fmt: skip
        await until(lambda: up.backends("pg") != [], what="awake")
        before, rolls = up.backends("pg"), 0
        while not bench.done() and rolls < SECONDS // 3:
            code, said = await run(sys.executable, "-m", "weir", "restart", "pg", "--of", str(up.file))
            assert code == 0, said
            await until(lambda old=before: up.backends("pg") not in ([], old), what="replaced")  # type: ignore[misc]
            before, rolls = up.backends("pg"), rolls + 1
        code, said = await bench
        assert code == 0, said
        assert "number of failed transactions: 0 (0.000%)" in said
        assert rolls >= 1, "it was never replaced while pgbench ran"
