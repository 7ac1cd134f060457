"""An idle connection that has stopped counting: what makes it count again, and what does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interceptor.exchange import stream_tunnel
from tests.support.ports import free_port
from tests.wire.proxy_rig import eventually
from tests.wire.relay_rig import Ends, Sockets, sockets, turns

IDLE = 0.2
FORMS = pytest.mark.parametrize("relayed", [False, True], ids=["with transports", "relayed"])


class Counts:
    """How often a connection has begun to count, and whether it does."""

    def __init__(self, made: Sockets) -> None:
        self._entry = made.rig.entry

    @property
    def now(self) -> tuple[int, int]:
        return self._entry.requests_total, self._entry.in_flight


async def idle_one(made: Sockets, *, relayed: bool) -> Ends:
    """A connection that was used, and counts no more."""
    ends = await made.connect()
    await ends.passes()
    if relayed:
        ends.relayed()
    await eventually(lambda: made.rig.entry.in_flight == 0)
    assert bool(ends.tunnel._relayed) == relayed
    return ends


def rig(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Any:
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 3600.0)  # only when it is asked for
    return sockets(free_port(), idle=IDLE, **fields)


@FORMS
async def test_what_a_server_says_to_a_silent_client_is_no_demand(monkeypatch: pytest.MonkeyPatch, *, relayed: bool) -> None:
    async with rig(monkeypatch) as made:
        counts, ends = Counts(made), await idle_one(made, relayed=relayed)
        ends.backend.send(b"terminating connection due to administrator command")
        await ends.hears("client", b"terminating connection due to administrator command")
        await turns(5)
        assert counts.now == (1, 0)
        ends.client.send(b"x")
        await ends.hears("backend", b"x")
        await eventually(lambda: counts.now == (2, 1))


@FORMS
@pytest.mark.parametrize("heard", [False, True], ids=["in the same turn", "later"])
async def test_a_farewell_to_a_server_that_has_ended_wakes_nothing(
    monkeypatch: pytest.MonkeyPatch, *, relayed: bool, heard: bool
) -> None:
    async with rig(monkeypatch) as made:
        counts, ends = Counts(made), await idle_one(made, relayed=relayed)
        ends.backend.send(b"bye")
        ends.backend.close()
        if heard:
            assert not await ends.ends("client")
        ends.client.send(b"QUIT\r\n")
        # Nothing comes of it.
        await asyncio.sleep(0.05)
        assert counts.now == (1, 0)


@FORMS
async def test_a_connection_whose_backend_has_ended_is_no_demand(monkeypatch: pytest.MonkeyPatch, *, relayed: bool) -> None:
    """Whatever the client goes on to send: no other replica gets it."""
    async with rig(monkeypatch) as made:
        counts, ends = Counts(made), await made.connect()
        await ends.passes()
        if relayed:
            ends.relayed()
        assert counts.now == (1, 1)
        ends.backend.shutdown(1)
        assert not await ends.ends("client")
        await eventually(lambda: counts.now == (1, 0))
        ends.client.send(b"more")
        await ends.hears("backend", b"more")
        assert counts.now == (1, 0)


async def test_also_one_without_a_limit_of_silence() -> None:
    async with sockets(free_port()) as made:
        counts, ends = Counts(made), await made.connect()
        await ends.passes()
        ends.backend.shutdown(1)
        assert not await ends.ends("client")
        await eventually(lambda: counts.now == (1, 0))


@FORMS
async def test_a_client_that_has_ended_counts_until_its_backend_is_silent(
    monkeypatch: pytest.MonkeyPatch, *, relayed: bool
) -> None:
    async with rig(monkeypatch) as made:
        counts, ends = Counts(made), await made.connect()
        await ends.passes()
        if relayed:
            ends.relayed()
        ends.client.shutdown(1)
        assert not await ends.ends("backend")
        assert counts.now == (1, 1)
        await eventually(lambda: counts.now == (1, 0))
        ends.backend.send(b"late")
        await ends.hears("client", b"late")
        assert counts.now == (1, 0)


async def test_a_long_silence_before_one_side_ends_is_not_held_against_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "HALF_CLOSED_SECONDS", IDLE * 2)
    async with rig(monkeypatch) as made:
        ends = await idle_one(made, relayed=False)
        await asyncio.sleep(IDLE * 3)  # more than the other side has after an end
        ends.client.shutdown(1)
        assert not await ends.ends("backend")
        await asyncio.sleep(IDLE)  # half of what it has
        ends.backend.send(b"answer")
        await ends.hears("client", b"answer")


async def test_a_client_that_ends_while_its_bytes_may_fit_a_pattern_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig(monkeypatch, first_bytes=(r"PING\r\n",)) as made:
        counts, ends = Counts(made), await made.connect()
        ends.client.send(b"PIN")
        await ends.hears("backend", b"PIN")
        assert counts.now == (0, 0)
        ends.client.shutdown(1)
        await eventually(lambda: counts.now == (1, 1))
