"""Ten thousand applications, a hundred interceptors and twenty thousand streams of KEDA: what /metrics, answers and pushes take.

Every day at a tenth of that; WEIR_FULL_SIZE=1 is all of it, in minutes. A wait is counted in work of the process that is waited
for, as a busy machine makes others wait for longer than any document takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fleet.discovery.files import write_members, write_routes
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.support.caller import Caller
from tests.support.full import FULL
from tests.support.manifests import DEPLOY
from tests.support.members import PlayedMember, playing
from tests.support.neighbour import felt_p99, work_of
from tests.support.raw_requests import get
from tests.support.scalers import Keda, Pushes, eventually, route
from tests.system.alone import Alone, alone
from tests.system.harness import fetch
from tests.unit.scaler.test_members import NEWS_BYTES
from tests.wire.proxy_backend import RawBackend
from tests.wire.test_scaler_process import port_of, spawn

PART = 1 if FULL else 10
APPS, MEMBERS, STREAMS = 10_000 // PART, 100 // PART, 20_000 // PART
CHANNELS = 3
"""Of as many replicas of KEDA."""
MOST_BYTES = 3_000_000
MOST_WORK_SECONDS = 0.030
"""Of a wait while documents are read all the time. A step of one takes a millisecond or two, a request some turns, and
others work on while a busy machine lets a request wait for its processor; a document made in one piece takes hundreds."""
QUESTIONS, WAKES = 200, 30
BARE_BYTES, APP_BYTES = 80 << 20, 2_000
"""Of a scaler that has nothing to do, and for each application that it knows."""

pytestmark = pytest.mark.timeout(900 if FULL else 120)


# -- the interceptor ------------------------------------------------------------------------------------------------


async def test_metrics_and_pages_of_all_applications_hold_up_no_request(tmp_path: Path) -> None:
    backend = RawBackend()
    await backend.start()
    try:
        routes = [
            Route(app=app, target=Target("load/all"), rules=(Rule(hosts=(f"{app.partition('/')[2]}.test",)),)) for app in names()
        ]
        async with alone(tmp_path, *routes, backends={"load/all": [backend.backend]}) as running:
            untouched = (await fetch(running.diagnostics_port, "localhost", "/metrics")).body
            assert "app-" not in untouched, "of applications without requests there is nothing to tell"
            await _touch_all(running)
            async with _reading(running.diagnostics_port, "/metrics", "/queue", "/routes") as texts:
                wait = await _felt(running)
            told = {family.name: family for family in text_string_to_metric_families(texts["/metrics"])}
            assert sum(sample.value for sample in told["weir_interceptor_requests"].samples) >= APPS
            assert len(texts["/metrics"].encode()) <= MOST_BYTES
            print(f"interceptor: /metrics {len(texts['/metrics'])} bytes; 99 of 100 requests {wait * 1e3:.1f} ms of work")  # noqa: T201
            assert wait < MOST_WORK_SECONDS
    finally:
        await backend.close()


async def _touch_all(running: Alone) -> None:
    async def ask(apps: list[str]) -> None:
        caller = Caller(running.port)
        for app in apps:
            reply = await caller.ask(get(host=f"{app.partition('/')[2]}.test".encode()))
            assert reply.status == 200
        caller.leave()

    everyone = names()
    await asyncio.gather(*(ask(everyone[number::8]) for number in range(8)))


async def _felt(running: Alone) -> float:
    """The best of three rounds: the machine may spoil one, and what holds requests up does so in each."""
    clock = work_of(running.process.pid)
    return min([(await felt_p99(running.port, "app-00000.test", requests=60, clocks=[clock]))[0] for _ in range(3)])


# -- the scaler -----------------------------------------------------------------------------------------------------


async def test_answers_and_pushes_of_a_scaler_of_a_large_fleet(tmp_path: Path) -> None:
    members = [PlayedMember(f"m{number}", heartbeat=1.0) for number in range(MEMBERS)]
    for member in members:
        for app in names():
            member.set(app, total=7, seconds=1.5)
    async with playing(*members), _a_scaler(tmp_path, members) as (port, diagnostics, seen, log):
        work = work_of(seen.pid)
        kedas = [Keda(_channel(port)) for _ in range(CHANNELS)]
        try:
            await eventually(lambda: all(member.streams for member in members), 300)
            before = seen.memory_info().rss
            pushes = await _open_streams(kedas)
            async with _reading(diagnostics, "/metrics", "/demand") as texts:
                asked = [await _worked(work, kedas[0].value(app)) for app in names()[:QUESTIONS]]
                woken = [
                    await _worked(work, _wake(members[number % MEMBERS], app, pushes[app]))
                    for number, app in enumerate(names()[:WAKES])
                ]
            families = {family.name: family for family in text_string_to_metric_families(texts["/metrics"])}
            assert families["weir_scaler_activity_streams"].samples[0].value == STREAMS
            assert len(texts["/metrics"].encode()) <= MOST_BYTES
            assert "silent" not in "".join(log), "each of them has told all the time"
            rss = seen.memory_info().rss
            whole = rss if FULL else _whole((rss - before) / STREAMS)
            print(  # noqa: T201
                f"scaler: {rss >> 20} MiB, {(rss - before) / STREAMS / 1024:.0f} KiB a stream; ms of work: "
                f"GetMetrics {_ms(asked)}, pushes {_ms(woken)}; "
                f"/metrics {len(texts['/metrics'])} bytes"
            )
            assert whole < 0.8 * _memory_limit()
            assert sorted(asked)[len(asked) // 2] < MOST_WORK_SECONDS
            assert sorted(woken)[len(woken) // 2] < MOST_WORK_SECONDS
        finally:
            await asyncio.gather(*(keda.close() for keda in kedas))


@asynccontextmanager
async def _a_scaler(directory: Path, members: list[PlayedMember]) -> AsyncIterator[tuple[int, int, psutil.Process, list[str]]]:
    """Its ports, its process and its log."""
    write_routes(directory / "routes.json", RoutingTable([route(app, concurrency=10) for app in names()]))
    write_members(directory / "members.json", [member.discovered for member in members])
    # The members are of one process, which is busy as well: what is silent for so long would be the scaler's fault.
    flags = ["--routes", f"file:{directory}/routes.json", "--members", f"file:{directory}/members.json", "--news-timeout", "20"]
    process = await spawn(*flags)
    log: list[str] = []

    async def read() -> None:
        assert process.stderr is not None
        while line := (await process.stderr.readline()).decode():
            log.append(line)

    try:
        port, diagnostics = await port_of(process, within=300), 0
        seen = psutil.Process(process.pid)
        (diagnostics,) = {
            connection.laddr.port for connection in seen.net_connections("tcp") if connection.status == psutil.CONN_LISTEN
        } - {port}
        reader = asyncio.create_task(read())
        yield port, diagnostics, seen, log
    finally:
        process.kill()
        await process.wait()
    await reader


async def _open_streams(kedas: list[Keda]) -> dict[str, Pushes]:
    """All of them, some at a time; gives the last one of each application."""
    pushes: dict[str, Pushes] = {}
    everyone = names()
    for begin in range(0, STREAMS, 200):
        some = [
            (everyone[number % APPS], Pushes(kedas[number % CHANNELS].stub, everyone[number % APPS]))
            for number in range(begin, min(begin + 200, STREAMS))
        ]
        await asyncio.gather(*(each.opened() for _, each in some))
        pushes |= some
    return pushes


async def _wake(member: PlayedMember, app: str, pushes: Pushes) -> None:
    already = len(pushes.times)
    member.set(app, held=1, total=8, seconds=1.5)
    await pushes.until(already + 1)


async def _worked(clock: Callable[[], float], act: Awaitable[object]) -> float:
    began = clock()
    await act
    return clock() - began


def _channel(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.use_local_subchannel_pool", 1),))


def _whole(stream_bytes: float) -> float:
    """Memory of a scaler at full size, in bytes: what the interceptors tell grows with their number and that of applications."""
    return BARE_BYTES + 20_000 * stream_bytes + 10_000 * APP_BYTES + 100 * 10_000 * NEWS_BYTES


def _memory_limit() -> int:
    """Of a scaler's container, in bytes."""
    (deployment,) = yaml.safe_load_all((DEPLOY / "base" / "scaler" / "deployment.yaml").read_text())
    text = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    number, unit = int(text[:-2]), text[-2:]
    return number << {"Mi": 20, "Gi": 30}[unit]


def _ms(seconds: list[float]) -> str:
    ordered = [1e3 * each for each in sorted(seconds)]
    return f"{ordered[len(ordered) // 2]:.1f} (median), {ordered[-1]:.1f} (most)"


# -- both -----------------------------------------------------------------------------------------------------------


def names() -> list[str]:
    return [f"load/app-{number:05d}" for number in range(APPS)]


@asynccontextmanager
async def _reading(port: int, *paths: str) -> AsyncIterator[dict[str, str]]:
    """Documents are asked for, one after the other, all the time; at the end each was read in the block at least once."""
    texts: dict[str, str] = {}

    async def read() -> None:
        while True:
            for path in paths:
                answer = await fetch(port, "localhost", path, timeout=300)
                assert answer.status == 200
                texts[path] = answer.body

    reader = asyncio.create_task(read())
    try:
        await eventually(lambda: len(texts) == len(paths) or reader.done(), 300)
        yield texts
    finally:
        reader.cancel()
        await asyncio.wait((reader,))
    if not reader.cancelled():
        reader.result()
