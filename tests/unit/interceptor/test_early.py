"""The bytes buffered for requests that have not begun are limited for all connections together."""

from __future__ import annotations

from interceptor.core.early import EarlyBytes


class Client:
    def __init__(self, early: EarlyBytes) -> None:
        self._early = early
        self.evicted = False

    def keep(self, size: int) -> None:
        self._early.keep(self, size)

    def evict(self) -> None:
        self.evicted = True


def test_the_oldest_gives_up_first() -> None:
    early = EarlyBytes(100)
    old, young, new = Client(early), Client(early), Client(early)
    old.keep(40)
    young.keep(40)
    assert not old.evicted
    new.keep(40)
    assert [client.evicted for client in (old, young, new)] == [True, False, False]
    assert (early.total, len(early), early.evicted) == (80, 2, 1)


def test_a_client_that_sends_single_bytes_stays_the_oldest() -> None:
    early = EarlyBytes(100)
    slow, other = Client(early), Client(early)
    slow.keep(10)
    other.keep(80)
    for size in range(11, 21):
        slow.keep(size)
    assert not other.evicted
    slow.keep(21)
    assert slow.evicted
    assert not other.evicted
    assert early.total == 80


def test_one_that_keeps_too_much_alone_gives_up_itself() -> None:
    early = EarlyBytes(100)
    client = Client(early)
    client.keep(101)
    assert client.evicted
    assert (early.total, len(early)) == (0, 0)


def test_what_is_dropped_counts_no_more() -> None:
    early = EarlyBytes(100)
    client = Client(early)
    client.keep(60)
    client.keep(70)
    assert early.total == 70
    early.drop(client)
    early.drop(client)
    assert (early.total, len(early)) == (0, 0)
