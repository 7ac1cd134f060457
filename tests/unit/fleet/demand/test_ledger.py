from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.demand.ledger import EDGE_INTERVAL, Lease, Ledger, QueueSize
from tests.support.full import examples


class Edges(list[str]):
    def drain(self) -> list[str]:
        heard = list(self)
        self.clear()
        return heard


@pytest.fixture
def edges() -> Edges:
    return Edges()


@pytest.fixture
def ledger(edges: Edges) -> Ledger:
    return Ledger(on_edge=edges.append)


def test_a_request_is_counted_until_it_is_released(ledger: Ledger) -> None:
    entry = ledger.entry("a/web")
    lease = entry.acquire(1.0)
    assert (entry.in_flight, entry.held, entry.requests_total, ledger.outstanding) == (1, 0, 1, 1)
    lease.release(3.0)
    lease.release(4.0)
    assert (entry.in_flight, entry.requests_total, ledger.outstanding) == (0, 1, 0)
    assert lease.released
    assert ledger.sizes(9.0) == [QueueSize("a/web", requests_total=1, concurrency_seconds_total=2.0, generation=1)]


def test_a_held_request_is_admitted_and_goes_back_to_wait(ledger: Ledger) -> None:
    entry = ledger.entry("a/web")
    lease = entry.hold(1.0)
    assert (entry.held, entry.in_flight, lease.held) == (1, 0, True)
    lease.admit(2.0)
    assert (entry.held, entry.in_flight, lease.held) == (0, 1, False)
    lease.hold(3.0)
    assert (entry.held, entry.in_flight) == (1, 0)
    lease.release(4.0)
    assert ledger.balanced()
    assert entry.requests_total == 1
    assert entry.size(10.0).concurrency_seconds_total == 3.0


def test_a_tunnel_is_in_flight_and_a_connection(ledger: Ledger) -> None:
    entry = ledger.entry("a/web")
    lease = entry.acquire(1.0)
    lease.upgrade(2.0)
    lease.upgrade(2.0)
    assert (entry.in_flight, entry.connections) == (1, 1)
    lease.hold(2.5)
    assert (entry.held, entry.connections) == (0, 1), "a tunnel never goes back to wait"
    lease.release(3.0)
    assert ledger.balanced()


def test_a_released_lease_takes_no_step(ledger: Ledger) -> None:
    lease = ledger.entry("a/web").hold(1.0)
    lease.release(2.0)
    lease.admit(3.0)
    lease.upgrade(3.0)
    lease.hold(3.0)
    assert ledger.balanced()
    assert ledger.sizes(9.0)[0].concurrency_seconds_total == 1.0


def test_leases_of_a_forgotten_entry_touch_no_later_one(ledger: Ledger, edges: Edges) -> None:
    old = ledger.entry("a/web")
    lease, other = old.acquire(1.0), old.hold(1.0)
    ledger.retain([])
    again = ledger.entry("a/web")
    assert again is not old
    assert again.generation > old.generation
    edges.clear()
    other.admit(2.0)
    assert ledger.outstanding == 2
    lease.release(2.0)
    other.release(2.0)
    assert (again.in_flight, again.held) == (0, 0)
    old.hold(3.0).release(3.0)
    assert edges == [], "a forgotten entry tells nothing under a name that is another's now"
    assert ledger.balanced()


def test_retain_keeps_what_is_named(ledger: Ledger) -> None:
    kept = ledger.entry("a/web")
    ledger.entry("b/web")
    ledger.retain({"a/web", "c/new"})
    assert ledger.entry("a/web") is kept
    assert [size.app for size in ledger.sizes(0.0)] == ["a/web"]


def test_first_request_of_a_quiet_application_is_an_edge(ledger: Ledger, edges: Edges) -> None:
    entry = ledger.entry("a/web")
    lease = entry.acquire(0.0)
    assert edges.drain() == ["a/web"]
    entry.acquire(0.1).release(0.2)
    assert edges == []
    lease.release(0.3)
    assert edges == [], "no watcher was told a level above zero, so its end is no news"


def test_held_from_zero_is_an_edge_also_when_busy(ledger: Ledger, edges: Edges) -> None:
    entry = ledger.entry("a/web")
    entry.acquire(0.0)
    edges.clear()
    waiting = entry.hold(5.0)
    assert edges.drain() == ["a/web"]
    entry.hold(5.1)
    assert edges == []
    waiting.admit(6.5)
    waiting.hold(6.6)
    assert edges == [], "another one waited all the time"


def test_a_lease_that_goes_back_to_wait_is_an_edge(ledger: Ledger, edges: Edges) -> None:
    entry = ledger.entry("a/web")
    lease = entry.acquire(0.0)
    edges.clear()
    lease.hold(0.1)
    assert edges.drain() == ["a/web"]
    lease.admit(0.2)
    lease.hold(0.3)
    assert edges == [], "once in an interval"
    lease.admit(2.0)
    lease.hold(2.0)
    assert edges.drain() == ["a/web"]


def test_return_to_zero_is_an_edge_when_a_watcher_believes_otherwise(ledger: Ledger, edges: Edges) -> None:
    entry = ledger.entry("a/web")
    cursor = ledger.watch()
    lease, second = entry.acquire(0.0), entry.hold(0.0)
    cursor.take(0.5)
    edges.clear()
    lease.release(1.0)
    assert edges == []
    second.release(2.0)
    assert edges.drain() == ["a/web"]


@pytest.mark.parametrize("held", [False, True])
def test_a_steady_stream_of_requests_tells_few_edges(ledger: Ledger, edges: Edges, held: bool) -> None:
    entry, cursor = ledger.entry("a/web"), ledger.watch()
    seconds = 10
    for step in range(seconds * 1000):
        now = step / 1000
        (entry.hold if held else entry.acquire)(now).release(now + 0.0005)
        if step % 1000 == 999:
            assert [size.requests_total for size in cursor.take(now + 0.0005)] == [step + 1]
    assert len(edges) <= seconds / EDGE_INTERVAL + 1


def test_a_cold_request_right_after_a_watcher_subscribed_is_an_edge(ledger: Ledger, edges: Edges) -> None:
    entry = ledger.entry("a/web")
    entry.acquire(0.0).release(0.1)
    ledger.watch().take(0.2)
    edges.clear()
    cursor = ledger.watch()
    assert [size.requests_total for size in cursor.take(99.9)] == [1]
    entry.acquire(100.0)
    assert edges == ["a/web"]


def test_a_cursor_takes_what_changed_since_its_own_last_take(ledger: Ledger) -> None:
    ledger.entry("a/idle")
    entry = ledger.entry("a/web")
    first, second = ledger.watch(), ledger.watch()
    lease = entry.acquire(0.0)
    assert [size.app for size in first.take(1.0)] == ["a/web"]
    assert [size.concurrency_seconds_total for size in first.take(2.0)] == [2.0], "a level above zero is always a change"
    lease.release(3.0)
    assert [size.in_flight for size in first.take(4.0)] == [0]
    assert first.take(5.0) == []
    assert [size.requests_total for size in second.take(5.0)] == [1]
    assert second.take(6.0) == []
    entry.acquire(7.0).release(7.0)
    assert [size.requests_total for size in first.take(8.0)] == [2]
    assert [size.requests_total for size in second.take(8.0)] == [2]


def test_changes_are_a_cursor_of_the_ledgers_own(ledger: Ledger) -> None:
    ledger.entry("a/web").acquire(0.0).release(1.0)
    assert [size.requests_total for size in ledger.changes(1.0)] == [1]
    assert ledger.changes(2.0) == []


def test_edges_are_taken_without_the_rest(ledger: Ledger) -> None:
    busy, entry, cursor = ledger.entry("a/busy"), ledger.entry("a/web"), ledger.watch()
    busy.acquire(0.0)
    cursor.take(0.5)
    lease = entry.hold(1.0)
    assert [(size.app, size.held) for size in cursor.take_edges(1.0)] == [("a/web", 1)]
    assert cursor.take_edges(1.1) == []
    assert {size.app for size in cursor.take(2.0)} == {"a/busy", "a/web"}
    lease.release(3.0)
    assert [(size.app, size.held) for size in cursor.take_edges(3.0)] == [("a/web", 0)]
    assert [size.app for size in cursor.take(4.0)] == ["a/busy"]


def test_a_forgotten_entry_is_reported_once_with_every_count_at_zero(ledger: Ledger) -> None:
    entry, cursor = ledger.entry("a/web"), ledger.watch()
    entry.acquire(0.0)
    cursor.take(1.0)
    ledger.retain([])
    assert cursor.take(2.0) == [QueueSize("a/web", generation=1)]
    assert cursor.take(3.0) == []


def test_a_forgotten_entry_is_not_told_after_the_one_that_took_its_name(ledger: Ledger) -> None:
    cursor = ledger.watch()
    ledger.entry("a/web").acquire(0.0)
    ledger.retain([])
    ledger.entry("a/web").acquire(0.1).release(0.2)
    assert [size.generation for size in cursor.take_edges(0.3)] == [2]
    assert cursor.take(0.4) == []


def test_a_closed_cursor_gathers_no_more(ledger: Ledger) -> None:
    cursor = ledger.watch()
    cursor.close()
    ledger.entry("a/web").acquire(0.0)
    assert cursor.take(1.0) == []


STEPS = st.sampled_from(["acquire", "hold", "admit", "back", "upgrade", "release", "retain", "take", "take_edges", "watch"])
WAIT = st.floats(0, 3, allow_nan=False, width=32)
STORM = st.lists(st.tuples(STEPS, st.integers(0, 2), st.integers(0, 10_000), WAIT), max_size=120)
MOVES = {("held", "admit"): "flight", ("flight", "back"): "held", ("flight", "upgrade"): "tunnel"}


class Storm:
    """A ledger, and a model that keeps every open lease with its generation and state."""

    def __init__(self) -> None:
        self.ledger = Ledger(on_edge=lambda app: None)
        self.now = 100.0
        self.leases: list[Lease] = []
        self.cursors = [self.ledger.watch()]
        self.recorded: list[dict[str, QueueSize]] = [{}]
        self.open: dict[int, tuple[int, str]] = {}
        self.seconds: dict[int, float] = defaultdict(float)
        self.requests: Counter[int] = Counter()

    def step(self, step: str, app: str, pick: int, wait: float) -> None:
        self.now += wait
        for generation, _ in self.open.values():
            self.seconds[generation] += wait
        if step in {"acquire", "hold"}:
            self.begin(step, app)
        elif step == "retain":
            self.ledger.retain([app])
        elif step == "watch":
            self.cursors.append(self.ledger.watch())
            self.recorded.append({})
        elif step.startswith("take"):
            self.take(pick % len(self.cursors), step)
        elif self.leases:
            self.move(pick % len(self.leases), step)

    def begin(self, step: str, app: str) -> None:
        entry = self.ledger.entry(app)
        self.leases.append(entry.acquire(self.now) if step == "acquire" else entry.hold(self.now))
        self.open[len(self.leases) - 1] = (entry.generation, "flight" if step == "acquire" else "held")
        self.requests[entry.generation] += 1

    def take(self, at: int, step: str = "take") -> None:
        cursor = self.cursors[at]
        taken = cursor.take(self.now) if step == "take" else cursor.take_edges(self.now)
        self.recorded[at].update({size.app: size for size in taken})

    def move(self, at: int, step: str) -> None:
        lease = self.leases[at]
        {"admit": lease.admit, "back": lease.hold, "upgrade": lease.upgrade, "release": lease.release}[step](self.now)
        if at in self.open:
            generation, state = self.open.pop(at)
            if step != "release":
                self.open[at] = (generation, MOVES.get((state, step), state))

    def count(self, generation: int, *states: str) -> int:
        return sum(1 for owner, state in self.open.values() if owner == generation and state in states)

    def check(self) -> None:
        assert self.ledger.outstanding == len(self.open)
        for size in self.ledger.sizes(self.now):
            assert size.held == self.count(size.generation, "held")
            assert size.in_flight == self.count(size.generation, "flight", "tunnel")
            assert size.connections == self.count(size.generation, "tunnel")
            assert size.requests_total == self.requests[size.generation]
            assert size.concurrency_seconds_total == pytest.approx(self.seconds[size.generation], abs=1e-6)


@settings(max_examples=examples(150), deadline=None)
@given(STORM)
def test_any_storm_equals_the_model_and_ends_at_zero(steps: list[tuple[str, int, int, float]]) -> None:
    storm = Storm()
    for step, app, pick, wait in steps:
        storm.step(step, f"a/{app}", pick, wait)
        storm.check()
    for at, told in enumerate(storm.recorded):
        storm.take(at)
        for size in storm.ledger.sizes(storm.now):
            assert not size.requests_total or told[size.app] == size, "who took everything knows everything"
    for lease in storm.leases:
        lease.release(storm.now)
    assert storm.ledger.balanced()
    assert storm.ledger.outstanding == 0
