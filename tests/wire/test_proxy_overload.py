"""More connections, heads and files than there is room for: the listener pauses for a while, and nothing fails because of it."""

from __future__ import annotations

import asyncio
import gc
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import httpx
import msgspec
import pytest

from fleet.routing.route import Protection
from fleet.runtime.garbage import IDLE_COLLECTIONS
from fleet.runtime.process import raise_limit_of_files
from interceptor.listener import DESCRIPTORS_PER_CLIENT, FLOWS_PART, SPARE_DESCRIPTORS
from tests.support.loopback import route
from tests.support.raw_requests import get
from tests.support.waiting import turns
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

# -- connections --------------------------------------------------------------------------------------------------


async def busy(rig: Rig, count: int) -> list[RawClient]:
    """Connections whose request is with the backend."""
    clients = [await rig.client() for _ in range(count)]
    for client in clients:
        client.send(get())
    await eventually(lambda: len(rig.backends[0].requests) == count)
    return clients


async def test_a_connection_beyond_the_limit_waits_until_another_has_closed() -> None:
    go = asyncio.Event()

    async def held(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            await go.wait()
            peer.send(ok())

    async with proxy_rig(held, max_connections=3) as rig:
        first = await busy(rig, 3)
        late = [await rig.client() for _ in range(5)]
        for client in late:
            client.send(get())
        await turns()
        proxy = rig.interceptor.proxy
        assert (len(proxy.clients), proxy.full, proxy.times_full) == (3, True, 1)
        assert len(rig.backends[0].requests) == 3
        go.set()
        answers = [await client.response() for client in first]
        assert {one.get(b"connection") for one in answers} == {b"close"}  # places are needed
        assert {(await client.response()).status for client in late} == {200}
        await eventually(lambda: not proxy.full or len(proxy.clients) == 3)


async def test_idle_connections_make_room_and_busy_ones_do_not() -> None:
    async with proxy_rig(max_connections=4) as rig:
        idle = [await rig.client() for _ in range(2)]
        for client in idle:
            assert (await client.ask(get())).status == 200
        others = [await rig.client() for _ in range(6)]
        for client in others:
            assert (await client.ask(get())).status == 200
        assert await idle[0].ends()
        assert rig.interceptor.proxy.times_full >= 1


async def test_a_newcomer_is_not_taken_for_idle() -> None:
    async with proxy_rig(max_connections=3) as rig:
        newcomers = [await rig.client() for _ in range(3)]
        await eventually(lambda: rig.interceptor.proxy.full)
        await turns()
        for client in newcomers:
            assert (await client.ask(get())).status == 200


@pytest.mark.parametrize(("begun", "status"), [(b"", None), (b"GET / HTTP/1.1\r\nHost: a", 503)], ids=["silent", "slow heads"])
async def test_clients_that_use_up_the_connections_and_send_nothing_are_closed(begun: bytes, status: int | None) -> None:
    async with proxy_rig(max_connections=3) as rig:
        silent = [await rig.client() for _ in range(3)]
        for client in silent:
            client.send(begun)
        await eventually(lambda: rig.interceptor.proxy.full)
        began = monotonic()
        assert (await (await rig.client()).ask(get())).status == 200
        assert monotonic() - began < 6  # and not the ten seconds that a head may take
        if status is None:
            assert await silent[0].ends()
        else:
            assert (await silent[0].response()).status == status


async def test_a_flood_of_one_application_leaves_half_of_the_connections_to_the_others() -> None:
    """Whatever its route may say, and however few files the process may open: who waits keeps a connection."""
    flooded = msgspec.structs.replace(route("default/z", "z.test"), protection=Protection(max_requests=1000))
    async with proxy_rig(routes=[route(), flooded], max_connections=40) as rig:
        flood = [await rig.client() for _ in range(60)]
        for client in flood:
            client.send(get(host=b"z.test"))
        proxy = rig.interceptor.proxy
        await eventually(lambda: proxy.apps["default/z"].stats.own["max_requests", 503] == 40)
        assert proxy.apps["default/z"].entry.held == 20
        assert (await (await rig.client()).ask(get())).status == 200
        rig.set_routes(flooded)  # nobody else is there: it may have all of them
        late = await rig.client()
        late.send(get(host=b"z.test"))
        await eventually(lambda: proxy.apps["default/z"].entry.held == 21)
        rig.set_routes(route(), flooded)
        assert (await (await rig.client()).ask(get(host=b"z.test"))).status == 503


async def test_the_door_closes_and_opens_again_and_again() -> None:
    async with proxy_rig(max_connections=20) as rig:

        async def visit() -> int:
            client = await rig.client()
            status = (await client.ask(get())).status
            client.close()
            return status

        for _ in range(5):
            assert set(await asyncio.gather(*(visit() for _ in range(100)))) == {200}
        await eventually(lambda: not rig.interceptor.proxy.clients)
        assert not rig.interceptor.proxy.full
        assert not rig.interceptor.proxy.sheds


async def test_a_client_in_the_accept_queue_is_answered_when_the_proxy_drains() -> None:
    async with proxy_rig(max_connections=1, drain_timeout=5.0) as rig:
        first = await rig.client()
        await eventually(lambda: rig.interceptor.proxy.full)
        waiting = [await rig.client() for _ in range(3)]
        for client in waiting:
            client.send(get())
        drained = asyncio.create_task(rig.interceptor.drain())
        first.send(get())
        statuses = [(await client.response()).status for client in (first, *waiting)]
        assert statuses == [200] * 4
        await drained


# -- files --------------------------------------------------------------------------------------------------------


@contextmanager
def soft_limit(files: int) -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    with soft_limit(2000) as hard:
        raise_limit_of_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


FEW_FILES = 400
_FEW = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
from weir.cli import main
sys.argv[1:] = sys.argv[1:]
main()
"""


async def test_a_process_with_few_files_serves_more_clients_than_it_has_files_for(tmp_path: Path) -> None:
    """Twice as many clients as files: they take turns, and the process lives and says why they wait."""
    async with proxy_rig() as rig:  # its backend and its table are what the other process needs
        backend = rig.backends[0].backend
        (tmp_path / "routes.json").write_text(
            '{"routes":[{"app":"default/a","target":{"service":"default/a"},"rules":[{"hosts":["a.test"]}]}]}'
        )
        (tmp_path / "backends.json").write_text(
            '{"backends":{"default/a":[{"host":"127.0.0.1","port":%d}]}}' % backend.port  # noqa: UP031
        )
        command = [sys.executable, "-c", _FEW.format(files=FEW_FILES), "interceptor", "--host", "127.0.0.1"]
        command += ["--proxy-port", "0", "--rpc-port", "0", "--diagnostics-port", "0"]
        command += ["--routes", f"file:{tmp_path}/routes.json", "--backends", f"file:{tmp_path}/backends.json"]
        with (tmp_path / "log").open("w+") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:  # noqa: ASYNC220 -- it starts in no time
            try:
                await eventually(lambda: " serves on port " in (tmp_path / "log").read_text(), within=120.0)
                said = (tmp_path / "log").read_text()
                files = FEW_FILES - SPARE_DESCRIPTORS
                assert f"room for {(files - files // FLOWS_PART) // DESCRIPTORS_PER_CLIENT} client connections" in said
                port = int(said.partition(" serves on port ")[2].split()[0])
                clients = []
                for _ in range(2 * FEW_FILES):
                    clients.append(await RawClient.connect(port))
                    clients[-1].send(get())  # at once: one that was silent for a second would make room for others
                answers = await asyncio.gather(*(client.response() for client in clients))
                assert {one.status for one in answers} == {200}
                for client in clients:
                    client.close()
                assert process.poll() is None
                assert "no room for more client connections" in (tmp_path / "log").read_text()
            finally:
                process.kill()


# -- heads and what is sent ahead -----------------------------------------------------------------------------------


async def test_slow_heads_cost_a_bounded_amount_of_memory() -> None:
    """Heads that never end, of many connections: the oldest are refused, and who asks properly is answered."""
    part = get(b"/", b"X: " + b"x" * 8000)[:-4]
    async with proxy_rig(max_early_bytes=20 * len(part)) as rig:
        early = rig.interceptor.proxy.early
        slow = [await rig.client() for _ in range(60)]
        for number, client in enumerate(slow):
            client.send(part)
            await eventually(lambda expected=number + 1: len(early) + early.evicted == expected)  # type: ignore[misc]
        assert len(early) == 20
        assert early.total <= early.limit
        assert {(await client.response()).status for client in slow[:40]} == {503}
        good = await rig.client()
        assert (await good.ask(get())).status == 200
        slow[59].send(b"\r\n\r\n")
        assert (await slow[59].response()).status == 200


async def test_requests_sent_ahead_are_given_up_and_the_answer_under_way_is_not() -> None:
    go = asyncio.Event()

    async def held(peer: BackendPeer) -> None:
        await peer.request()
        await go.wait()
        peer.send(ok(b"first"))

    async with proxy_rig(held, max_early_bytes=64 * 1024) as rig:
        ahead = get(b"/", b"X: " + b"x" * 15_000)
        greedy = await rig.client()
        greedy.send(get() + ahead)
        early = rig.interceptor.proxy.early
        await eventually(lambda: early.total)
        others = [await rig.client() for _ in range(5)]
        for client in others:
            client.send(ahead[:-4])
        await eventually(lambda: early.evicted)
        go.set()
        assert (await greedy.response()).body == b"first"
        assert await greedy.ends()
        assert len(rig.backends[0].requests) == 1


async def test_early_bytes_of_closed_connections_are_not_counted() -> None:
    async with proxy_rig(answer(ok())) as rig:
        clients = [await rig.client() for _ in range(10)]
        for client in clients:
            client.send(get()[:-2])
        early = rig.interceptor.proxy.early
        await eventually(lambda: len(early) == 10)
        clients[0].send(b"\r\n")
        assert (await clients[0].response()).status == 200
        for client in clients[1:]:
            client.reset()
        await eventually(lambda: (len(early), early.total) == (0, 0))


# -- the event loop -------------------------------------------------------------------------------------------------


async def test_a_blocked_event_loop_shows_in_the_metrics() -> None:
    async with proxy_rig(diagnostics=True, routes=[route()]) as rig:
        lag = rig.interceptor.proxy.lag
        await eventually(lambda: sum(lag.counts))
        until = monotonic() + 0.5
        while monotonic() < until:
            pass
        await eventually(lambda: lag.sum > 0.3)
        url = f"http://127.0.0.1:{rig.interceptor.diagnostics_port}/metrics"
        async with httpx.AsyncClient() as client:
            text = (await client.get(url)).text
        (late,) = [line for line in text.splitlines() if line.startswith("weir_interceptor_event_loop_lag_seconds_sum")]
        assert float(late.split()[1]) > 0.3
        assert "weir_interceptor_accepting 1.0" in text


# -- garbage --------------------------------------------------------------------------------------------------------


async def a_few_ticks(rig: Rig) -> None:
    """Each begins with a look at how late it is."""
    lag = rig.interceptor.proxy.lag
    before = sum(lag.counts)
    await eventually(lambda: sum(lag.counts) > before + 3)


async def test_full_garbage_collections_run_only_while_no_request_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole collection takes as long as there are connections: nobody is to wait for it."""
    looks: list[int] = []
    async with proxy_rig(backends=0) as rig:
        monkeypatch.setattr(gc, "get_count", lambda: (0, 0, IDLE_COLLECTIONS))
        monkeypatch.setattr(gc, "collect", lambda: looks.append(rig.ledger.outstanding))
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        looks.clear()
        await a_few_ticks(rig)
        assert not looks
        await rig.backend()
        assert (await client.response()).status == 200
        await eventually(lambda: looks)
        assert not any(looks)
        monkeypatch.setattr(gc, "get_count", lambda: (0, 0, IDLE_COLLECTIONS - 1))
        looks.clear()
        await a_few_ticks(rig)
        assert not looks
