"""Runs the conformance suites through interceptors, and beside that directly: `python -m tests.conformance`.

Everything that passes directly has to pass through an interceptor. Reports both numbers for each suite, and exits with 1 if
something passes only directly. The tools are built by `tools/clients conformance`. With `--only-browsers` only the clients for
browsers run (`tests.conformance.browser`); all other arguments are passed to `connectconformance`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fleet.discovery.fixed import FixedBackends, FixedRoutes
from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from interceptor.server import Interceptor
from tests.conformance.browser import browsers
from tests.support.loopback import APP, loopback_settings

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / "build" / "tools" / "bin"
INTEROP = (
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
    "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
    "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
)  # fmt: skip
"""Cases of grpc-go's client. The others need TLS and credentials, or (ORCA, pick_first) another server than grpc-go's own."""
PER_CASE = 30.0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def until_open(port: int) -> None:
    """Wait for a server that does not say when it is there."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


@asynccontextmanager
async def interceptor_before(port: int, *, http2: bool, tls: Mapping[str, str] | None = None) -> AsyncIterator[int]:
    """The port of an interceptor whose only backend has this port of the loopback address. `tls` has its certificate and key, and
    perhaps the certificate that clients have to show, as PEM."""
    backends = FixedBackends()
    backends.set(APP, [Backend("127.0.0.1", port, "kubernetes.io/h2c" if http2 else None)])
    routes = FixedRoutes(RoutingTable([Route(app=APP, target=Target(APP), rules=(Rule(),))]))
    with tempfile.TemporaryDirectory() as directory:
        settings: dict[str, Any] = {}
        for name, pem in (tls or {}).items():
            file = Path(directory) / name
            file.write_text(pem)
            settings |= {f"proxy_tls_{name}": str(file), "proxy_tls_port": 0}
        interceptor = Interceptor(loopback_settings(**settings), routes=routes, backends=backends)
        await interceptor.start()
        try:
            yield (interceptor.proxy_tls_port or 0) if tls else interceptor.proxy_port
        finally:
            await interceptor.close()


async def on_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server of the suite asks for an interceptor, for as long as the connection lasts."""
    try:
        async with interceptor_before(**json.loads(await reader.readline())) as own:
            writer.write(b"%d" % own)
            await reader.read()
    finally:
        writer.close()


async def run(*command: str | Path, **environment: str) -> tuple[int, str]:
    """The exit code of a tool, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | environment
    )
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, said.decode(errors="replace")


async def suite(path: str, server: str, features: str, *extra: str) -> bool:
    """The suite of connectrpc.com with its reference client and one of its servers."""
    command = (sys.executable, "-I", HERE / "server.py")
    ways: tuple[tuple[str, tuple[str | Path, ...]], ...] = (
        ("directly", (TOOLS / server,)),
        ("through an interceptor", (*command, TOOLS / server)),
        ("through one to HTTP/2", (*command, "--http2", TOOLS / server)),
    )
    listening = await asyncio.start_unix_server(on_server, path)
    failed: list[set[str]] = []
    passed: list[int] = []
    for name, way in ways:
        tool: list[str | Path] = [TOOLS / "connectconformance", "--mode", "server", "--conf", HERE / features, *extra, "--"]
        _, said = await run(*tool, *way, WEIR_CONFORMANCE=path)
        failed.append(set(re.findall(r"FAILED: (.*):\n", said)))
        numbers = re.search(r"(\d+) passed, (\d+) failed", said)
        passed.append(int(numbers[1]) if numbers else 0)
        say(f"{server} {name}: {numbers[0] if numbers else said[-1000:]}")
    listening.close()
    while ending := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
        await asyncio.wait(ending)  # the last interceptors
    only = sorted(set.union(*failed[1:]) - failed[0])
    for each in only:
        say(f"  fails only through an interceptor: {each}")
    return not only and 0 < passed[0] <= min(passed)


async def interop() -> bool:
    """The cases of grpc-go's client, with its server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        served = int(free.getsockname()[1])
    server = await asyncio.create_subprocess_exec(TOOLS / "grpc-interop-server", "--port", str(served), stderr=subprocess.DEVNULL)
    await until_open(served)
    passed: dict[str, list[str]] = {"directly": [], "through an interceptor": []}
    try:
        async with interceptor_before(served, http2=True) as own:
            for name, port in zip(passed, (served, own), strict=True):
                for case in INTEROP:
                    client = (TOOLS / "grpc-interop-client", "--server_port", str(port), "--test_case", case)
                    try:
                        async with asyncio.timeout(PER_CASE):
                            code, said = await run(*client)
                    except TimeoutError:
                        code, said = 1, "took too long"
                    if code == 0:
                        passed[name].append(case)
                    else:
                        say(f"  {case} {name}: {said.strip()[-300:]}")
                say(f"grpc-go interop {name}: {len(passed[name])} of {len(INTEROP)} passed")
    finally:
        server.terminate()
        await server.wait()
    return set(passed["directly"]) <= set(passed["through an interceptor"])


async def main(extra: list[str]) -> bool:
    if not (TOOLS / "connectconformance").exists():
        say("the tools are missing: `tools/clients conformance` builds them")
        return False
    if extra == ["--only-browsers"]:
        return await browsers(TOOLS / "referenceserver", say)
    with tempfile.TemporaryDirectory() as directory:
        ended = [
            await interop(),
            await suite(f"{directory}/connect", "referenceserver", "connect.yaml", *extra),
            await suite(f"{directory}/grpc", "grpcserver", "grpc.yaml", *extra),
            await browsers(TOOLS / "referenceserver", say),
        ]
    return all(ended)


if __name__ == "__main__":
    sys.exit(not asyncio.run(main(sys.argv[1:])))
