"""The mean concurrency of the merged demand, compared with the true one, whatever the delays of messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.demand.ledger import ChangeCursor, Lease, Ledger, QueueSize
from fleet.demand.merge import FleetDemand, Metric
from tests.support.full import examples

APP, OTHER = "a/web", "a/other"


class Member:
    """One interceptor: a ledger, its stream, and messages on their way. Its clock differs from ours."""

    def __init__(self, name: str, *, clock: float = 0.0) -> None:
        self.name = name
        self.clock = clock
        self.started = 0
        self.peak = 0
        self.restart(0.0)

    def restart(self, now: float) -> None:
        self.started += 1
        self.began = now
        self.ledger = Ledger()
        self.leases: list[Lease] = []
        self.cursor: ChangeCursor | None = None
        self.way: list[Message] = []

    def request(self, now: float, app: str = APP) -> None:
        lease = self.ledger.entry(app).acquire(now + self.clock)
        if app == APP:
            self.leases.append(lease)
            self.peak = max(self.peak, self.ledger.entry(app).in_flight)

    def release(self, now: float) -> None:
        if self.leases:
            self.leases.pop().release(now + self.clock)

    def send(self, now: float, *, partial: bool = False) -> Message:
        snapshot, partial = self.cursor is None, partial and self.cursor is not None
        cursor = self.cursor = self.cursor or self.ledger.watch()
        sizes = (cursor.take_edges if partial else cursor.take)(now + self.clock)
        return Message(self.name, f"{self.name}-{self.started}", sizes, now - self.began, snapshot=snapshot, partial=partial)


class Message:
    def __init__(
        self, member: str, incarnation: str, sizes: list[QueueSize], age: float, *, snapshot: bool, partial: bool
    ) -> None:
        self.member, self.incarnation, self.sizes, self.age = member, incarnation, sizes, age
        self.snapshot, self.partial = snapshot, partial

    def arrive(self, demand: FleetDemand, now: float) -> None:
        if self.snapshot:
            assert demand.snapshot(self.member, self.incarnation, self.sizes, now, age=self.age)
        else:
            demand.update(self.member, self.incarnation, self.sizes, now, age=self.age, partial=self.partial)


def mean(demand: FleetDemand, now: float) -> float:
    """Without the current level, which the value is never below."""
    state = demand._apps.get(APP)
    assert demand._watching_since is not None
    return 0.0 if state is None else state.concurrency.mean(now, demand._watching_since)


@pytest.fixture
def member() -> Member:
    """A connection with nine requests."""
    made = Member("m", clock=5000.0)
    for _ in range(9):
        made.request(1.0)
    return made


@pytest.fixture
def demand() -> FleetDemand:
    """With a window shorter than the second from one heartbeat to the next."""
    return FleetDemand(concurrency_window=0.5)


def beat(member: Member, demand: FleetDemand, until: int) -> None:
    for second in range(2, until + 1):
        member.send(float(second)).arrive(demand, float(second))


def test_an_edge_of_another_application_does_not_shorten_the_stretch(member: Member, demand: FleetDemand) -> None:
    beat(member, demand, 6)
    member.request(6.9, OTHER)
    member.send(6.9, partial=True).arrive(demand, 6.9)
    member.send(7.0).arrive(demand, 7.0)
    assert mean(demand, 7.0) == pytest.approx(9.0), "a second's nine are no 18 in the tenth since another's edge"


def test_a_late_heartbeat_does_not_squeeze_the_next(member: Member, demand: FleetDemand) -> None:
    beat(member, demand, 6)
    member.send(7.0).arrive(demand, 7.15)
    member.send(8.0).arrive(demand, 8.0)
    assert mean(demand, 8.0) == pytest.approx(9.0)


def test_heartbeats_that_waited_for_a_stalled_scaler_do_not_raise_the_mean(member: Member, demand: FleetDemand) -> None:
    beat(member, demand, 6)
    bunch = [member.send(float(second)) for second in range(7, 11)]
    for message in bunch:
        message.arrive(demand, 10.3)
    assert mean(demand, 10.3) <= 9.0
    member.send(11.0).arrive(demand, 11.0)
    assert mean(demand, 11.0) == pytest.approx(9.0)


def test_the_first_message_may_be_the_latest_of_all(member: Member, demand: FleetDemand) -> None:
    member.send(2.0).arrive(demand, 4.9)
    for second in (3.0, 4.0):
        member.send(second).arrive(demand, 4.9)
    member.send(5.0).arrive(demand, 5.0)
    assert mean(demand, 5.0) <= 9.0
    beat(member, demand, 9)
    assert mean(demand, 9.0) == pytest.approx(9.0)


def test_messages_that_were_overtaken_count_nothing_twice(member: Member, demand: FleetDemand) -> None:
    beat(member, demand, 6)
    first, second, overtaking = member.send(6.8), member.send(6.9), member.send(7.0)
    for message in (overtaking, first, second, member.send(7.2)):
        message.arrive(demand, 7.2)
    assert mean(demand, 7.2) == pytest.approx(9.0, rel=0.01), "but for what the clocks may differ by"
    assert mean(demand, 7.2) <= 9.0


def test_what_ended_is_not_brought_back_by_a_message_that_was_overtaken(member: Member, demand: FleetDemand) -> None:
    beat(member, demand, 6)
    overtaken = member.send(6.9)
    for _ in range(9):
        member.release(7.0)
    member.ledger.retain([])
    for message in (member.send(7.0), overtaken):
        message.arrive(demand, 7.1)
    assert demand.level(APP) == 0


def test_a_restart_is_not_squeezed_into_the_moment_it_was_found(member: Member, demand: FleetDemand) -> None:
    beat(member, demand, 6)
    last = member.send(6.1)
    member.restart(6.2)
    for _ in range(9):
        member.request(6.2)
    # The scaler was stalled: it receives the last message of the old process and the first of the new one together.
    last.arrive(demand, 11.0)
    member.send(11.0).arrive(demand, 11.05)
    assert mean(demand, 11.05) <= 9.0 + 1e-9


def test_a_restart_does_not_begin_before_the_last_word_of_the_old_process(member: Member, demand: FleetDemand) -> None:
    # All messages of the old one were three seconds late, so they overlap with the time of the new one.
    member.send(2.0).arrive(demand, 5.0)
    member.send(3.0).arrive(demand, 6.0)
    for _ in range(9):
        member.release(4.0)
    member.send(4.0, partial=True).arrive(demand, 7.0)
    member.restart(6.0)
    for _ in range(9):
        member.request(6.0)
    member.send(7.0).arrive(demand, 7.0)
    assert mean(demand, 7.0) <= 9.0 + 1e-9


def test_a_restart_in_the_middle_of_the_watch_counts_from_its_own_beginning(member: Member, demand: FleetDemand) -> None:
    beat(member, demand, 6)
    member.restart(7.8)
    for _ in range(9):
        member.request(7.8)
    member.send(8.0).arrive(demand, 8.0)
    assert mean(demand, 8.0) == pytest.approx(9 * 0.2 / 0.5)


def test_a_clock_that_was_paused_is_believed_again(demand: FleetDemand) -> None:
    demand.snapshot("m", "i", [QueueSize(APP, in_flight=9, requests_total=9, generation=1)], 0.0, age=0.0)
    for second in range(1, 1001):
        size = QueueSize(APP, 0, 9, 0, 9, second * 9.0, 1)
        # Two seconds pass after the first that its clock does not count.
        demand.update("m", "i", [size], second + 2.0, age=float(second))
    assert mean(demand, 1002.0) < 9.0
    for second in range(1001, 1101):
        demand.update("m", "i", [QueueSize(APP, 0, 9, 0, 9, second * 9.0, 1)], second + 2.0, age=float(second))
    assert mean(demand, 1102.0) == pytest.approx(9.0, rel=0.01)


KINDS = ["request", "release", "tell", "tell", "tell", "edge", "arrive", "arrive", "repeat", "overtake", "break", "restart"]
WAITS = st.one_of(st.sampled_from([0.0, 0.001, 0.25, 1.0]), st.floats(0, 1.5, width=32))
EVENTS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2), WAITS), max_size=100)


def step(kind: str, member: Member, demand: FleetDemand, now: float) -> None:
    if kind == "request":
        member.request(now)
    elif kind == "release":
        member.release(now)
    elif kind in {"tell", "edge"}:
        if kind == "edge":
            member.request(now, OTHER)
        member.way.append(member.send(now, partial=kind == "edge"))
    elif kind == "restart":
        while member.way:
            member.way.pop(0).arrive(demand, now)
        member.restart(now)
        for _ in range(member.peak):
            member.request(now)
    elif kind == "break":
        # Messages on their way are lost; the next one is a snapshot.
        member.cursor, member.way = None, []
        demand.broken(member.name, now)
    else:
        deliver(kind, member.way, demand, now)


def deliver(kind: str, way: list[Message], demand: FleetDemand, now: float) -> None:
    if kind == "overtake" and len(way) > 1:
        way.insert(0, way.pop(1))
    elif way:
        (way[0] if kind == "repeat" else way.pop(0)).arrive(demand, now)


@settings(max_examples=examples(400), deadline=None)
@given(st.integers(1, 3), EVENTS, st.sampled_from([0.5, 1.0, 2.5, 15.0]), st.floats(0, 1))
def test_the_mean_is_never_above_what_there_was(
    members: int, events: list[tuple[str, int, float]], window: float, look: float
) -> None:
    """Messages that are late, grouped, repeated or overtaken, from members that join late, disconnect and restart."""
    now, demand = 100.0, FleetDemand(concurrency_window=window)
    fleet = [Member(f"m{number}", clock=number * 1000.0) for number in range(members)]
    for number, member in enumerate(fleet):
        for _ in range(5 + number):
            member.request(now)
    fleet[0].send(now).arrive(demand, now)
    for kind, which, wait in events:
        now += wait
        step(kind, fleet[which % members], demand, now)
        # Of one member that is what it had at most. Those of several may not have been at once: each is placed by the
        # least delay of its own.
        most = sum(member.peak for member in fleet) + 1e-6
        assert mean(demand, now) <= most
        assert mean(demand, now + look) <= most
        assert demand.value(APP, Metric.CONCURRENCY, now) <= most


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 1.0), st.floats(0, 0.3)), min_size=4, max_size=60), st.sampled_from([0.5, 3.0, 15.0]))
def test_a_steady_level_is_read_as_what_it_is(beats: list[tuple[float, float]], window: float) -> None:
    """However the delays vary, nothing is counted twice or lost, except within one maximum delay."""
    demand, member, now, heard = FleetDemand(concurrency_window=window), Member("m", clock=7000.0), 100.0, 0.0
    for _ in range(4):
        member.request(now)
    member.send(now).arrive(demand, now + 0.3)
    began = now
    for pause, delay in beats:
        now += pause
        heard = max(heard, now + delay)
        member.send(now).arrive(demand, heard)
    state = demand._apps[APP]
    seen = min(window, now - began)
    total = state.concurrency.total(heard)
    # The window ends at the arrival of the last message, and begins somewhere within a bucket.
    assert total <= 4 * window + 1e-6
    assert total >= 4 * (seen - 0.3 - 0.3 - 0.3 - min(1.0, window) - 0.002 * len(beats)) - 1e-6
