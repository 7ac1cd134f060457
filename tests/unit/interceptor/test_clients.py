"""The rules at the connection limit, in memory: which connections are closed, when, and the callbacks."""

from __future__ import annotations

from typing import cast

from interceptor.clients import FULL_HEAD_SECONDS, HEADS_AT_ONCE, LOOK_SECONDS, ROOM_PART, Clients
from interceptor.core.deadlines import NEVER, Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.http1.client import ClientConnection

HEAD_TIMEOUT = 10.0
NOW = 1000.0


class Client:
    """A connection as the registry sees it."""

    def __init__(self, *, idle: bool = False, begun: bool = False, deadline: float = NOW + 60) -> None:
        self.idle, self.begun, self.deadline = idle, begun, deadline
        self.ends: list[str] = []

    def close_if_idle(self) -> None:
        self.ends.append("closed")

    def evict(self) -> None:
        self.ends.append("evicted")


class Rig:
    def __init__(self, most: int) -> None:
        self.recorded: list[str] = []
        self.early = EarlyBytes(1 << 20)
        self.clients = Clients(
            most,
            head_timeout=HEAD_TIMEOUT,
            deadlines=Deadlines(0.1, now=NOW),
            early=self.early,
            clock=lambda: NOW,
            on_full=lambda: self.recorded.append("full"),
            on_room=lambda: self.recorded.append("room"),
        )

    def open(self, *clients: Client) -> None:
        for client in clients:
            self.clients.opened(cast("ClientConnection", client))

    def close(self, client: Client) -> None:
        self.clients.closed(cast("ClientConnection", client))


def test_the_last_place_makes_it_full_and_a_free_one_makes_room() -> None:
    rig, busy = Rig(2), [Client(), Client()]
    rig.open(busy[0])
    assert not rig.clients.full
    rig.open(busy[1])
    assert rig.clients.full
    assert rig.clients.times_full == 1
    assert rig.clients.deadline == NOW + LOOK_SECONDS
    rig.close(busy[0])
    assert not rig.clients.full
    assert rig.recorded == ["full", "room"]


def test_room_is_made_for_a_part_before_anybody_is_let_in() -> None:
    rig, busy = Rig(2 * ROOM_PART), [Client() for _ in range(2 * ROOM_PART)]
    rig.open(*busy)
    rig.close(busy[0])
    assert rig.clients.full
    rig.close(busy[1])
    assert rig.recorded == ["full", "room"]


def test_the_longest_idle_leaves_and_one_that_has_just_come_does_not() -> None:
    rig = Rig(4)
    old, older = Client(idle=True, deadline=NOW + 50), Client(idle=True, deadline=NOW + 40)
    newcomer = Client(idle=True, deadline=NOW + HEAD_TIMEOUT)
    rig.open(old, older, newcomer, Client())
    assert [one.ends for one in (old, older, newcomer)] == [[], ["closed"], []]


def test_slow_heads_are_given_up_while_it_is_full() -> None:
    since = HEAD_TIMEOUT - FULL_HEAD_SECONDS
    slow, quick = Client(begun=True, deadline=NOW + since), Client(begun=True, deadline=NOW + since + 0.5)
    rig = Rig(2)
    rig.open(slow, quick)
    assert slow.ends == []
    rig.clients.on_deadline(NOW)
    assert (slow.ends, quick.ends) == (["evicted"], [])
    assert rig.early.evicted == 1


def test_heads_are_given_up_in_bounded_looks() -> None:
    slow = [Client(begun=True, deadline=NOW) for _ in range(HEADS_AT_ONCE + 1)]
    rig = Rig(len(slow))
    rig.open(*slow)
    rig.clients.on_deadline(NOW)
    assert sum(bool(one.ends) for one in slow) == HEADS_AT_ONCE


def test_with_room_nobody_is_looked_at_again() -> None:
    rig, client = Rig(1), Client(idle=True, begun=True, deadline=NOW)
    rig.open(client)
    rig.close(client)
    client.ends.clear()
    rig.clients.on_deadline(NOW + LOOK_SECONDS)
    assert rig.clients.deadline == NEVER
    assert client.ends == []


def test_close_idle_leaves_those_at_work() -> None:
    rig, idle, busy = Rig(9), Client(idle=True), Client()
    rig.open(idle, busy)
    rig.clients.close_idle(NOW)
    assert (idle.ends, busy.ends) == (["closed"], [])
