"""`weir queue` and `weir explain` against interceptors that speak TLS, with real handshakes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet.demand.ledger import Ledger
from fleet.discovery.fixed import FixedRoutes
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from fleet.runtime.rpc import RpcServer
from fleet.runtime.tls import TlsFiles
from interceptor.rpc import QueueServicer, RoutingServicer
from protos.weir.interceptor.v1 import queue_pb2_grpc, routing_pb2_grpc
from tests.support.certificates import Authority
from weir.cli import app

NAME = "weir-interceptor-rpc"
COMMANDS = pytest.mark.parametrize("command", [("queue", "--json"), ("explain", "web.example.com")], ids=["queue", "explain"])


class Pki:
    """An authority with a server for NAME and a client; and a client of another authority."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        authority, stranger = Authority(), Authority("stranger")
        self.ca, self.other_ca = directory / "ca.crt", directory / "other.crt"
        self.ca.write_bytes(authority.pem)
        self.other_ca.write_bytes(stranger.pem)
        self.server = authority.write(directory, "server", NAME)
        self.client = authority.write(directory, "client")
        self.stranger = stranger.write(directory, "stranger")

    def flags(self, *, ca: bool = True, client: tuple[Path, Path] | None = None, name: bool = True) -> list[str]:
        typed = ["--tls-ca", str(self.ca)] if ca else []
        if client is not None:
            typed += ["--tls-cert", str(client[0]), "--tls-key", str(client[1])]
        return [*typed, "--tls-name", NAME] if name else typed


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@asynccontextmanager
async def serving(tls: TlsFiles | None) -> AsyncIterator[str]:
    ledger = Ledger()
    ledger.entry("default/web").hold(1.0)
    table = RoutingTable([Route("default/web", Target("default/web", 80), rules=(Rule(hosts=("web.example.com",)),))])
    server = RpcServer("127.0.0.1", 0, tls=tls)
    queues = QueueServicer(ledger, member="one", incarnation="first", clock=lambda: 2.0)
    server.add(queue_pb2_grpc.add_QueueServiceServicer_to_server, queues, "weir.interceptor.v1.QueueService")
    routes = RoutingServicer(FixedRoutes(table), "one")
    server.add(routing_pb2_grpc.add_RoutingServiceServicer_to_server, routes, "weir.interceptor.v1.RoutingService")
    address = f"127.0.0.1:{await server.start()}"
    try:
        yield address
    finally:
        await server.stop(0)


async def run(
    command: tuple[str, ...], address: str, *flags: str, env: dict[str, str] | None = None
) -> tuple[int, str, list[str]]:
    """Exit code, standard output, lines of standard error."""
    where = [address] if command[0] == "queue" else ["--address", address]
    result = await asyncio.to_thread(CliRunner().invoke, app, [*command, *where, *flags], env=env)
    return result.exit_code, result.stdout, result.stderr.splitlines()


@COMMANDS
@pytest.mark.parametrize("mutual", [False, True])
async def test_a_question_is_answered(pki: Pki, command: tuple[str, ...], mutual: bool) -> None:
    async with serving(TlsFiles(*pki.server, ca=pki.ca if mutual else None)) as address:
        flags = pki.flags(client=pki.client if mutual else None)
        code, told, problems = await run(command, address, *flags)
        assert (code, problems) == (0, [])
        assert "default/web" in told


@COMMANDS
async def test_in_a_pod_of_the_scaler_nothing_has_to_be_typed(pki: Pki, command: tuple[str, ...]) -> None:
    settings = {"CA": pki.ca, "CERT": pki.client[0], "KEY": pki.client[1], "NAME": NAME}
    env = {f"WEIR_MEMBER_TLS_{name}": str(value) for name, value in settings.items()}
    async with serving(TlsFiles(*pki.server, ca=pki.ca)) as address:
        code, told, problems = await run(command, address, env=env)
        assert (code, problems) == (0, [])
        assert "default/web" in told


@COMMANDS
async def test_a_handshake_that_fails_says_what_to_do(pki: Pki, command: tuple[str, ...]) -> None:
    failed = 1 if command[0] == "queue" else 3
    cases = {
        "if the interceptor speaks TLS, --tls-ca names its authority": [],
        "the interceptor may want a certificate: --tls-cert and --tls-key": pki.flags(),
        "the interceptor may not accept the certificate of --tls-cert": pki.flags(client=pki.stranger),
        "its certificate is for another name than the one dialled; --tls-name says for which": pki.flags(
            client=pki.client, name=False
        ),
        "its certificate is not of an authority in --tls-ca": ["--tls-ca", str(pki.other_ca), "--tls-name", NAME],
    }
    async with serving(TlsFiles(*pki.server, ca=pki.ca)) as address:
        for meaning, flags in cases.items():
            code, told, problems = await run(command, address, *flags)
            assert (code, len(problems)) == (failed, 1)
            assert problems[0].startswith(f"{address}: UNAVAILABLE ")
            assert problems[0].endswith(meaning)
            assert "default/web" not in told


async def test_a_process_says_no_more_than_that(pki: Pki) -> None:
    """gRPC's library writes to the standard error of the process, where Python does not see it."""
    async with serving(TlsFiles(*pki.server)) as address:
        command = [sys.executable, "-m", "weir", "queue", address, "--tls-ca", str(pki.other_ca), "--tls-name", NAME]
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=300)
        assert ended.stderr == f"{address}: UNAVAILABLE its certificate is not of an authority in --tls-ca\n"
        assert ended.returncode == 1


@COMMANDS
async def test_an_interceptor_in_plain_text_is_distinguished_from_a_wrong_certificate(pki: Pki, command: tuple[str, ...]) -> None:
    async with serving(None) as address:
        code, _, problems = await run(command, address, *pki.flags())
        assert code != 0
        assert problems == [f"{address}: UNAVAILABLE it does not speak TLS"]
        assert (await run(command, address))[0] == 0


@COMMANDS
async def test_flags_that_cannot_work_are_one_line(pki: Pki, command: tuple[str, ...]) -> None:
    cert, key, none = str(pki.client[0]), str(pki.client[1]), str(pki.directory / "none.crt")
    cases = {
        "--tls-key (WEIR_MEMBER_TLS_KEY) is missing: --tls-cert (WEIR_MEMBER_TLS_CERT) needs it": ["--tls-cert", cert],
        "--tls-ca (WEIR_MEMBER_TLS_CA) is missing: --tls-name (WEIR_MEMBER_TLS_NAME) needs it": ["--tls-name", NAME],
        f"{none}: No such file or directory": ["--tls-ca", none],
        f"{key}: not a certificate in PEM": ["--tls-ca", key],
        f"{pki.server[1]}: not the key of the certificate in {cert}": ["--tls-cert", cert, "--tls-key", str(pki.server[1])],
    }
    for meaning, flags in cases.items():
        assert await run(command, "127.0.0.1:1", *flags) == (3, "", [meaning])
