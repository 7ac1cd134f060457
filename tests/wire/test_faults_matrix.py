"""Every fault at every point of every kind of exchange, on both sides of the proxy: what may be retried is retried, nothing is
answered wrongly or twice, all of it in bounded time, and afterwards nothing is held, counted or open.

The points are found by letting each kind pass unharmed once, and looking at the bytes. What must come of a fault is said
by `_at_backend` and `_at_client`, from where the fault is; all the cases of one act run at once against one interceptor, each
with an application of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs

from fleet.routing.route import Protection
from interceptor.exchange.attempt import MAX_ATTEMPTS
from tests.support.faultproxy import Act, Fault, Way, drawn, every, first, sound
from tests.support.loopback import route
from tests.wire.faults_bench import PATIENCE, Bench, Scout, app_of
from tests.wire.faults_exchanges import READY, converse
from tests.wire.proxy_backend import ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import eventually, proxy_rig

LIMIT = 0.6
"""Seconds of the limits that a stall runs into: short for the test's sake, longer than a busy machine's hiccups."""
SILENCE = 0.3
"""Seconds without a byte after which a client whose own side is stalled goes."""
MOST_CASES = 300
AT_ONCE = 24
"""Cases that are under way together: what each has to wait for is bounded, so that limits tell of faults and not of load."""
CUTS = (Act.CUT, Act.RESET, Act.HALF_CLOSE)
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """One fault in one conversation."""

    scout: Scout
    side: str
    fault: Fault

    def __str__(self) -> str:
        fault = self.fault
        total = len(self.scout.wire(self.side, fault.way))
        lazy = " lazily" if fault.lazy else ""
        return f"{self.scout.kind.name}: {fault.act.value} at {self.side} {fault.way.value} after {fault.after}/{total}{lazy}"


def cases(scout: Scout, side: str, act: Act) -> Iterator[Case]:
    """Before and inside the head, after it, inside the body, before its last byte, after it; on a connection that rests, at
    once and with the first byte of the next request."""
    for way in Way:
        wire = scout.wire(side, way)
        piece = len(wire) // 50 + 1
        for start, end in pairwise([0, *scout.ends(side, way)]):
            head = wire.index(HEAD_END, start) + 4
            inside = {start + 5, (start + head) // 2, head - 1, head, (head + end) // 2, end - 1}
            for after in sorted({start, *(at for at in inside if start < at < end)}):
                yield Case(scout, side, Fault(act, way, after, piece=piece))
            if start:
                yield Case(scout, side, Fault(act, way, start, lazy=True, piece=piece))
        yield Case(scout, side, Fault(act, way, len(wire), piece=piece))


# -- what must come of it -----------------------------------------------------------------------------------------


def allowed(case: Case) -> set[str]:
    if case.fault.act is Act.TRICKLE:
        return {"whole"}
    return _at_backend(case) if case.side == "backend" else _at_client(case)


def _place(case: Case) -> tuple[int, int, int]:
    """Of the request or answer in which the fault is: where it begins, where its head ends, where it ends."""
    fault, scout = case.fault, case.scout
    wire, ends = scout.wire(case.side, fault.way), scout.ends(case.side, fault.way)
    begins = [0, *ends[:-1]]
    number = next(i for i, end in enumerate(ends) if fault.after < end or i == len(ends) - 1)
    return begins[number], wire.index(HEAD_END, begins[number]) + 4, ends[number]


def _at_backend(case: Case) -> set[str]:
    fault, scout = case.fault, case.scout
    begin, head, end = _place(case)
    if fault.way is Way.TO_CLIENT:
        if fault.after == end or (fault.act in CUTS and not fault.lazy and fault.after == begin > 0):
            return {"whole"}
        if scout.kind.name.startswith("expect"):  # its interim answer went on already: the head that counts is the final one
            head = wire_end_of_head(scout)
        return {"cut"} if fault.after >= head else _unanswered(case)
    if fault.after == end and fault.act in (Act.STALL, Act.HALF_CLOSE):
        return {"whole"}
    if scout.kind.tunnel and (fault.after > head or (fault.after == head and fault.act in (Act.STALL, Act.HALF_CLOSE))):
        return {"cut"}
    return _unanswered(case)


def wire_end_of_head(scout: Scout) -> int:
    wire = scout.backend[Way.TO_CLIENT]
    return wire.index(HEAD_END, wire.index(b" 200 OK")) + 4


def _unanswered(case: Case) -> set[str]:
    """The backend was lost before it answered."""
    fault, kind = case.fault, case.scout.kind
    if fault.act is Act.STALL:
        return {"504"}
    if not kind.idempotent:
        # Lost before it was written to, it is as good as refused.
        return {"502", "whole"} if not fault.after else {"502"}
    return {"whole"} if kind.replayed else {"whole", "502"}


def _at_client(case: Case) -> set[str]:
    fault, kind = case.fault, case.scout.kind
    begin, head, end = _place(case)
    if fault.way is Way.TO_CLIENT:
        if fault.after == len(case.scout.client[Way.TO_CLIENT]):
            return {"whole"}
        return {"silent"} if fault.act is Act.STALL else {"cut"}
    if fault.act is Act.STALL:
        if fault.after == end:
            return {"whole"}
        if fault.after == begin or (kind.tunnel and fault.after >= head):  # what never began ends without a word
            return {"cut"}
        return {"408"} if fault.after < head else {"504", "408"}
    # Who ends its side has left; where that is told right behind a whole request, the answer may be quicker.
    return {"cut", "whole"} if fault.act is Act.HALF_CLOSE and fault.after == end else {"cut"}


# -- whether it does ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_bench(
    *, stalls: bool = False, most: int = MOST_CASES, readiness_path: str | None = None
) -> AsyncIterator[tuple[Bench, list[Scout]]]:
    """A bench, and the conversations as they go well. Leaves no task, no count and no connection behind."""
    names = [b"n%04d" % number for number in range(most)]
    # A connection that is given up because nobody came to see it made has used up the fault that was meant for it.
    limits: dict[str, Any] = {"connect": PATIENCE} | ({"response_header": LIMIT, "idle": LIMIT} if stalls else {})
    settings: dict[str, Any] = {"head_timeout": LIMIT, "keep_alive_timeout": LIMIT} if stalls else {}
    routes = [route(app_of(name), f"{name.decode()}.test", **limits) for name in names]
    routes = [structs.replace(one, protection=Protection(readiness_path=readiness_path)) for one in routes]
    async with proxy_rig(routes=routes, backends=0, cold_start_header=False, **settings) as rig:
        tasks = asyncio.all_tasks()
        bench = Bench(rig, names)
        try:
            yield bench, await bench.start()
            await bench.settle()
        finally:
            await bench.close()
        await rig.settle()
        leaked = [task for task in asyncio.all_tasks() - tasks if "interceptor" in repr(task.get_coro())]
        assert not leaked, leaked


async def run(bench: Bench, case: Case) -> str:
    """What was wrong with it; empty when nothing was."""
    name, scout, kind = next(bench.names), case.scout, case.scout.kind
    plan = first(case.fault)
    await bench.before_backend(name, plan if case.side == "backend" else sound)
    client = await bench.client((await bench.before_interceptor(plan)).port if case.side == "client" else 0)
    may = allowed(case)
    seen = await converse(client, kind, name, scout.answers, patience=SILENCE if "silent" in may else PATIENCE)
    outcome = scout.outcome(seen, name)
    problems = [] if outcome in may else [f"{outcome}, not {'/'.join(sorted(may))}: {seen.received[:300]!r}"]
    if case.side == "backend" and outcome == "cut" and not kind.tunnel and not client.was_reset:
        problems.append("an answer that was cut short ended as if it were whole")
    if not kind.idempotent and bench.origin.served[name] > 1:
        problems.append(f"served {bench.origin.served[name]} times")
    if outcome == "whole":
        problems += await _goes_on(bench, client, case, name)
    # The other half of a tunnel may take its time when it was only told the end; where it is stalled, all of the grace.
    (client.reset if kind.tunnel and case.fault.act is Act.STALL else client.close)()
    again = await bench.request_again(other := await bench.client(), name)
    other.close()
    problems += [f"the next client had {again}"] if again != "whole" else []
    problems += [left] if (left := await bench.left(name)) else []
    return f"{case}: {'; '.join(problems)}" if problems else ""


async def _goes_on(bench: Bench, client: RawClient, case: Case, name: bytes) -> list[str]:
    """The same connection is answered for itself, or has ended; never with anything of the exchange before."""
    if case.scout.kind.tunnel or case.side == "client":
        return []
    again = await bench.request_again(client, name)
    may = {"whole", "nothing", "504"} if case.fault.act is Act.STALL else {"whole", "nothing"}
    return [] if again in may else [f"the same client had {again} next"]


@pytest.mark.parametrize("side", ["client", "backend"])
@pytest.mark.parametrize("act", list(Act), ids=lambda act: act.value)
async def test_every_fault_at_every_point(act: Act, side: str) -> None:
    async with a_bench(stalls=act is Act.STALL) as (bench, scouts):
        every_case = [case for scout in scouts for case in cases(scout, side, act)]
        places = asyncio.Semaphore(AT_ONCE)

        async def in_turn(case: Case) -> str:
            async with places:
                return await run(bench, case)

        problems = [problem for problem in await asyncio.gather(*map(in_turn, every_case)) if problem]
        assert not problems, "\n".join(problems)
        assert len(every_case) > 80


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
async def test_backends_that_are_lost_again_and_again(act: Act) -> None:
    """What may be sent again is, as often as there is hope, and no oftener."""
    async with a_bench(most=50) as (bench, scouts):
        get, post = scouts[0], scouts[2]
        for count in (1, MAX_ATTEMPTS - 1, MAX_ATTEMPTS, 100):
            for scout in (get, post):
                name, fault = next(bench.names), Fault(act, Way.TO_SERVER, len(scout.backend[Way.TO_SERVER]))
                proxy = await bench.before_backend(name, first(fault, count=count))
                seen = await converse(await bench.client(), scout.kind, name, scout.answers, patience=PATIENCE)
                recovers = scout is get and count < MAX_ATTEMPTS
                assert scout.outcome(seen, name) == ("whole" if recovers else "502")
                assert len(proxy.links) == (1 if scout is post else min(count + 1, MAX_ATTEMPTS))
                assert not await bench.left(name)


async def test_backends_that_refuse_for_a_while() -> None:
    """Nothing was sent: every kind waits, is counted as held, and is answered when the backend is back."""
    async with a_bench(most=50) as (bench, scouts):

        async def ask(scout: Scout, name: bytes) -> str:
            seen = await converse(await bench.client(), scout.kind, name, scout.answers, patience=PATIENCE)
            return scout.outcome(seen, name)

        names = [next(bench.names) for _ in scouts]
        proxies = [await bench.before_backend(name, sound) for name in names]
        for proxy in proxies:
            proxy.refuse()
        asking = [asyncio.create_task(ask(scout, name)) for scout, name in zip(scouts, names, strict=True)]
        apps = [bench.rig.interceptor.proxy.apps[app_of(name)] for name in names]
        await eventually(lambda: all(app.entry.held for app in apps), within=PATIENCE)
        for proxy in proxies:
            await proxy.start()
        assert await asyncio.gather(*asking) == ["whole"] * len(scouts)
        assert [bench.origin.served[name] for name in names] == [1 + (scout.kind.name == "second") for scout in scouts]


@pytest.mark.parametrize("act", list(Act), ids=lambda act: act.value)
async def test_probes_that_are_broken(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of a probe, wherever: no request is sent before one was answered, and then all of them are."""
    monkeypatch.setattr("interceptor.backends.probes.ANSWER_SECONDS", LIMIT)
    async with a_bench(most=50, readiness_path=READY.decode()) as (bench, scouts):
        wire = bytes(bench.behind[0].links[0].passed[Way.TO_SERVER])
        sent, answered = wire.index(HEAD_END) + 4, len(ok(b"ready"))
        beginning = b"GET " + READY

        async def ask(way: Way, after: int) -> str:
            name, scout = next(bench.names), scouts[2]
            proxy = await bench.before_backend(name, first(Fault(act, way, after, piece=5)))
            seen = await converse(await bench.client(), scout.kind, name, scout.answers, patience=PATIENCE)
            outcome = scout.outcome(seen, name)
            asked = beginning.startswith(bytes(proxy.links[0].passed[Way.TO_SERVER])[: len(beginning)])
            if outcome != "whole" or bench.origin.served[name] != 1 or not asked:
                return f"{act.value} {way.value} after {after}: {outcome}, served {bench.origin.served[name]} times"
            return await bench.left(name)

        points = [(Way.TO_SERVER, after) for after in (0, 5, sent - 1)]
        points += [(Way.TO_CLIENT, after) for after in (0, 5, 20, answered - 1)]
        problems = [problem for problem in await asyncio.gather(*(ask(*point) for point in points)) if problem]
        assert not problems, "\n".join(problems)


@pytest.mark.parametrize("seed", [1, 2])
async def test_faults_on_both_sides_at_once(seed: int) -> None:
    """By the dice of one seed: whatever a client has is its own, and when all is over nothing is left."""
    async with a_bench(stalls=True, most=60) as (bench, scouts):
        name = next(bench.names)
        await bench.before_backend(name, drawn(seed, 0.3, 500))
        before = await bench.before_interceptor(drawn(seed + 100, 0.3, 500))
        outcomes: Counter[str] = Counter()
        wrong: list[str] = []

        async def ask(number: int) -> None:
            scout = scouts[number % len(scouts)]
            client = await bench.client(before.port)
            seen = await converse(client, scout.kind, name, scout.answers, patience=2 * LIMIT)
            outcomes[outcome := scout.outcome(seen, name)] += 1
            if outcome == "wrong":
                wrong.append(f"{scout.kind.name}: {seen.received[:1000]!r}")
            (client.reset if number % 2 else client.close)()

        for batch in range(3):
            await asyncio.gather(*(ask(30 * batch + number) for number in range(30)))
        assert not wrong, "\n".join(wrong)
        assert outcomes["whole"] > 30, outcomes
        assert outcomes["cut"] > 3, outcomes
        for proxy in (*bench.before, *bench.behind):
            proxy.strike(Act.RESET)
        assert not await bench.left(name)
        await bench.before_backend(name, every())
        assert await bench.request_again(await bench.client(), name) == "whole"
