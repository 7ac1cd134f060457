"""The scaler as a process of its own: its signals and its exit codes."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import grpc

from fleet.discovery.files import write_members, write_routes
from fleet.routing.table import RoutingTable
from tests.support.members import PlayedMember, playing
from tests.support.scalers import APP, Keda, route

PROGRAM = """
import sys
from weir.components import run_scaler

sys.exit(run_scaler(sys.argv[1:]))
"""


async def spawn(*flags: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "--host", "127.0.0.1", "--port", "0", "--diagnostics-port", "0", *flags,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def port_of(process: asyncio.subprocess.Process, *, within: float = 60) -> int:
    assert process.stderr is not None
    async with asyncio.timeout(within):
        while line := (await process.stderr.readline()).decode():
            if "ExternalScaler on port " in line:
                return int(line.partition("ExternalScaler on port ")[2].partition(",")[0])
    raise AssertionError("the scaler ended before it served")


async def test_sigterm_ends_streams_with_ok_and_the_process_with_zero(tmp_path: Path) -> None:
    member = PlayedMember()
    async with playing(member):
        write_routes(tmp_path / "routes.json", RoutingTable([route(concurrency=10)]))
        write_members(tmp_path / "members.json", [member.discovered])
        process = await spawn("--routes", f"file:{tmp_path}/routes.json", "--members", f"file:{tmp_path}/members.json")
        try:
            keda = Keda(grpc.aio.insecure_channel(f"127.0.0.1:{await port_of(process)}"))
            pushes = await keda.pushes()
            member.set(APP, held=1, total=1)
            await pushes.until(1)
            process.send_signal(signal.SIGTERM)
            assert await pushes.code(1.0) is grpc.StatusCode.OK
            await keda.close()
            async with asyncio.timeout(60):
                await process.communicate()
            assert process.returncode == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def test_what_cannot_work_is_one_line_and_exit_code_3() -> None:
    process = await spawn("--routes", "ftp:nowhere", "--members", "127.0.0.1:1")
    async with asyncio.timeout(60):
        _, told = await process.communicate()
    assert process.returncode == 3
    assert told.decode().startswith("error: routes: 'ftp:nowhere'")
    assert told.count(b"\n") == 1
