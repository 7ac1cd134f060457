from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.demand.ledger import ChangeCursor, Lease, Ledger, QueueSize
from fleet.demand.merge import AppPolicy, FleetDemand, Metric
from tests.support.full import examples

APP = "a/web"


def size(
    app: str = APP, *, held: int = 0, flight: int = 0, total: int = 0, seconds: float = 0.0, generation: int = 1
) -> QueueSize:
    return QueueSize(app, held, flight, 0, total, seconds, generation)


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def demand(woken: list[str]) -> FleetDemand:
    fleet = FleetDemand(on_wake=woken.append, concurrency_window=10.0)
    fleet.configure({APP: AppPolicy(activity_period=15, rate_window=10, rate_granularity=1)})
    return fleet


def test_members_are_summed(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(held=2, flight=1, total=3)], 1.0)
    demand.snapshot("m2", "i2", [size(flight=4, total=9)], 1.0)
    assert (demand.level(APP), demand.held(APP)) == (7, 2)
    assert demand.value(APP, Metric.CONCURRENCY, 1.0) == 7.0
    demand.update("m2", "i2", [size(flight=0, total=9)], 2.0)
    assert demand.level(APP) == 3


def test_all_applications_together(demand: FleetDemand) -> None:
    assert (demand.total(0.0), demand.any_active(0.0), demand.any_held()) == (0.0, False, False)
    demand.snapshot("m1", "i1", [size(held=2, flight=1, total=3), size("b/web", flight=4, total=4)], 1.0)
    demand.snapshot("m2", "i2", [size(flight=5, total=5)], 1.0)
    assert (demand.total(1.0), demand.any_active(1.0), demand.any_held()) == (12.0, True, True)
    demand.update("m1", "i1", [size(flight=3, total=3)], 2.0)
    assert not demand.any_held()
    demand.update("m1", "i1", [size(total=3, seconds=9), size("b/web", total=4, seconds=12)], 4.0)
    demand.update("m2", "i2", [size(total=5)], 4.0)
    for now in (4.0, 4.5, 8.9, 13.5, 14.2, 15.0, 60.0):
        each = [demand.value(app, Metric.CONCURRENCY, now) for app in (APP, "b/web")]
        assert demand.total(now) == pytest.approx(sum(each))
        assert (demand.total(now) > 0) == (now < 14)
        assert demand.any_active(now) == (now < 19)


def test_what_a_young_member_answered_before_it_was_heard_woke_its_application(demand: FleetDemand, woken: list[str]) -> None:
    demand.snapshot("m1", "i1", [size(total=1), size("b/web")], 100.0, age=3.0)
    assert woken == [APP]
    assert (demand.active(APP, 114.9), demand.active(APP, 115.0)) == (True, False)
    assert demand.value(APP, Metric.RATE, 100.0) == 0.0, "when it was is not known"


def test_what_an_old_member_answered_before_it_was_heard_is_old(demand: FleetDemand, woken: list[str]) -> None:
    demand.snapshot("m1", "i1", [size(total=1)], 100.0, age=15.0)
    assert not demand.active(APP, 100.0)
    demand.broken("m1", 101.0)
    demand.snapshot("m1", "i1", [size(total=1)], 102.0, age=17.0)
    assert not demand.active(APP, 102.0)
    assert not woken


def test_an_unknown_application_has_no_demand(demand: FleetDemand) -> None:
    assert demand.value("b/none", Metric.RATE, 1.0) == 0.0
    assert not demand.active("b/none", 1.0)
    assert (demand.held("b/none"), demand.level("b/none")) == (0, 0)


def test_old_totals_make_no_spike_and_no_activity(demand: FleetDemand, woken: list[str]) -> None:
    demand.snapshot("m1", "i1", [size(total=1_000_000, seconds=5e6)], 100.0)
    assert demand.value(APP, Metric.RATE, 100.0) == 0.0
    assert demand.value(APP, Metric.CONCURRENCY, 100.0) == 0.0
    assert not demand.active(APP, 100.0)
    assert woken == []


def test_an_application_first_told_in_an_update_counts_in_full(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [], 100.0)
    demand.update("m1", "i1", [size(total=20)], 101.0)
    assert demand.value(APP, Metric.RATE, 120.0 - 19.0) == pytest.approx(10.0), "20 in the 2 s that a watch counts for at least"


def test_a_restarted_member_counts_in_full(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(flight=3, total=1000)], 50.0)
    demand.broken("m1", 98.0)
    assert demand.level(APP) == 3
    demand.snapshot("m1", "i2", [size(flight=1, total=7, seconds=2.0)], 100.0)
    assert demand.level(APP) == 1
    assert demand.value(APP, Metric.RATE, 100.0) == pytest.approx(0.14), "7 over the 50 s since it was heard, 10 of them in view"


def test_a_new_generation_counts_in_full_and_an_old_one_is_not_heard(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(flight=5, total=500)], 90.0)
    demand.update("m1", "i1", [size(flight=1, total=10, generation=2)], 91.0)
    assert demand.level(APP) == 1
    demand.update("m1", "i1", [size(generation=1)], 92.0)
    assert demand.level(APP) == 1
    assert demand.value(APP, Metric.RATE, 100.0) == pytest.approx(1.0)


def test_short_requests_count_by_their_integral(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [], 0.0)
    for second in range(1, 21):
        demand.update("m1", "i1", [size(total=second * 100, seconds=second * 2.5)], float(second))
    assert demand.level(APP) == 0
    assert demand.value(APP, Metric.CONCURRENCY, 20.0) == pytest.approx(2.5)
    assert demand.value(APP, Metric.RATE, 20.0) == pytest.approx(100.0)


def test_level_now_counts_when_it_is_above_the_mean(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(held=200, total=200)], 100.0)
    assert demand.value(APP, Metric.CONCURRENCY, 100.0) == 200.0


def test_activity_outlasts_the_last_request(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [], 0.0)
    demand.update("m1", "i1", [size(total=1, seconds=0.005)], 10.0)
    assert demand.active(APP, 24.9)
    assert not demand.active(APP, 25.1)


def test_activity_of_a_long_request_counts_from_its_end(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(flight=1, total=1)], 0.0)
    demand.update("m1", "i1", [size(total=1)], 1000.0)
    assert demand.active(APP, 1014.9)
    assert not demand.active(APP, 1015.1)


def test_wakes_are_told_on_the_edge_only(demand: FleetDemand, woken: list[str]) -> None:
    demand.snapshot("m1", "i1", [], 0.0)
    demand.update("m1", "i1", [size(total=1)], 1.0)
    assert woken == [APP]
    demand.update("m1", "i1", [size(total=2)], 2.0)
    demand.update("m1", "i1", [size(total=3, flight=1)], 3.0)
    assert woken == [APP]
    demand.update("m1", "i1", [size(total=4, held=1)], 4.0)
    assert woken == [APP, APP], "requests wait where none did"
    demand.update("m1", "i1", [size(total=5, held=2)], 5.0)
    demand.update("m1", "i1", [size(total=5)], 6.0)
    demand.update("m1", "i1", [size(total=6)], 100.0)
    assert woken == [APP, APP, APP]


def test_a_snapshot_with_requests_wakes(demand: FleetDemand, woken: list[str]) -> None:
    demand.snapshot("m1", "i1", [size(total=9, held=2)], 0.0)
    assert woken == [APP]


def test_what_is_not_in_a_snapshot_has_no_demand(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(flight=2, total=2), size("a/other", flight=1, total=1)], 0.0)
    demand.broken("m1", 1.0)
    demand.snapshot("m1", "i1", [size(flight=1, total=2)], 2.0)
    assert (demand.level(APP), demand.level("a/other")) == (1, 0)


def test_a_silent_member_keeps_its_counts_until_they_expire(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(flight=2, total=2)], 0.0)
    demand.snapshot("m2", "i2", [size(flight=1, total=1)], 0.0)
    demand.broken("m1", 3.0)
    demand.update("m2", "i2", [], 59.0)
    assert demand.expire(59.0, 60.0) == []
    assert demand.level(APP) == 3
    demand.update("m2", "i2", [], 61.0)
    assert demand.expire(61.0, 60.0) == ["m1"]
    assert demand.expire(62.0, 60.0) == []
    assert demand.level(APP) == 1
    demand.snapshot("m1", "i1", [size(flight=2, total=4)], 70.0)
    assert demand.level(APP) == 3
    assert demand.value(APP, Metric.RATE, 70.0) == pytest.approx(2 / 70), "its totals go on from where they were"


def test_a_member_that_left_is_gone_from_the_sum(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(flight=2, total=2)], 0.0)
    demand.member_left("m1", 5.0)
    demand.member_left("m1", 5.0)
    assert demand.level(APP) == 0
    assert demand.active(APP, 19.0)
    assert list(demand.members(6.0)) == []


def test_one_process_behind_two_addresses_counts_once(demand: FleetDemand) -> None:
    assert demand.snapshot("10.0.0.1", "i1", [size(flight=2, total=2)], 0.0)
    assert not demand.snapshot("[fd00::1]", "i1", [size(flight=2, total=2)], 0.0)
    assert demand.level(APP) == 2
    demand.member_left("10.0.0.1", 1.0)
    assert demand.snapshot("[fd00::1]", "i1", [size(flight=2, total=2)], 1.0)
    assert demand.level(APP) == 2


def test_reachable_needs_fresh_news_of_any_member(demand: FleetDemand) -> None:
    assert not demand.reachable(0.0)
    demand.member_joined("m1", 0.0)
    assert not demand.reachable(0.0)
    demand.snapshot("m1", "i1", [], 1.0)
    assert demand.reachable(4.0)
    assert not demand.reachable(4.1)


def test_settled_when_every_member_was_heard_or_tried(demand: FleetDemand) -> None:
    assert not demand.settled(0.0)
    demand.member_joined("m1", 0.0)
    demand.member_joined("m2", 0.0)
    demand.snapshot("m1", "i1", [], 0.1)
    assert not demand.settled(0.2)
    demand.broken("m2", 0.3)
    assert demand.settled(0.3)
    demand.member_joined("m3", 9.0)
    assert demand.settled(9.0), "a member that comes later stops no answer"


def test_settled_after_the_grace(demand: FleetDemand) -> None:
    demand.member_joined("m1", 0.0)
    assert not demand.settled(2.9)
    assert demand.settled(3.0)


def test_settled_after_the_grace_of_those_that_are_silent(demand: FleetDemand) -> None:
    """A scaler that needs ten seconds for the first messages of all members must not treat the following ones as late."""
    for number in range(5):
        demand.member_joined(f"m{number}", 0.0)
    for number in range(4):
        demand.snapshot(f"m{number}", f"i{number}", [], 2.5 * (number + 1))
        assert not demand.settled(2.5 * (number + 2) - 0.1)
    demand.update("m0", "i0", [], 12.0)
    assert not demand.settled(12.9)
    assert demand.settled(13.0)


def test_a_changed_window_keeps_the_history(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [], 0.0)
    for second in range(1, 31):
        demand.update("m1", "i1", [size(total=second * 10)], float(second))
    demand.configure({APP: AppPolicy(rate_window=5, rate_granularity=0.5)})
    assert demand.value(APP, Metric.RATE, 30.0) == pytest.approx(10.0, rel=0.05)


def test_applications_without_route_and_news_are_dropped(demand: FleetDemand) -> None:
    demand.snapshot("m1", "i1", [size(flight=1, total=1)], 0.0)
    demand.configure({})
    assert demand.level(APP) == 1, "there is still somebody waiting"
    demand.update("m1", "i1", [size()], 1.0)
    demand.configure({})
    assert list(demand.apps(1.0)) == []


def test_what_is_known_is_listed(demand: FleetDemand) -> None:
    demand.member_joined("m2", 0.0)
    demand.snapshot("m1", "i1", [size(held=1, flight=2, total=3)], 1.0)
    (app,) = demand.apps(1.5)
    assert (app.app, app.active, app.held, app.in_flight) == (APP, True, 1, 2)
    assert {(news.member, news.connected, news.heard_ago) for news in demand.members(1.5)} == {
        ("m1", True, 0.5),
        ("m2", False, None),
    }


class Process:
    """One interceptor with a real ledger, and the stream from it to the scaler."""

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.ledger = Ledger()
        self.leases: list[tuple[str, Lease]] = []
        self.cursor: ChangeCursor | None = None


KINDS = ["hold", "acquire", "release", "admit", "retain", "tell", "edges", "break", "restart", "leave"]
EVENTS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 2), st.integers(0, 999), st.floats(0, 2, width=32)),
    max_size=100,
)


class Fleet:
    """Three interceptors and a scaler; and what the scaler should know, counted by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.demand = FleetDemand(concurrency_window=1e6)
        self.demand.configure({f"a/{n}": AppPolicy(rate_window=1e6, rate_granularity=1e4) for n in range(3)})
        self.started = 0
        self.members = {f"m{n}": self.start() for n in range(3)}
        self.told: dict[str, dict[str, QueueSize]] = {name: {} for name in self.members}

    def start(self) -> Process:
        self.started += 1
        return Process(f"i{self.started}")

    def step(self, kind: str, name: str, app: str, pick: int) -> None:
        member = self.members[name]
        if kind in {"hold", "acquire"}:
            entry = member.ledger.entry(app)
            member.leases.append((app, entry.hold(self.now) if kind == "hold" else entry.acquire(self.now)))
        elif kind in {"release", "admit"} and member.leases:
            _, lease = member.leases[pick % len(member.leases)]
            (lease.release if kind == "release" else lease.admit)(self.now)
        elif kind == "retain":
            member.ledger.retain([app])
        elif kind == "restart":
            self.members[name] = self.start()
            self.demand.broken(name, self.now)
        elif kind in {"break", "leave"}:
            member.cursor = None
            (self.demand.broken if kind == "break" else self.demand.member_left)(name, self.now)
            if kind == "leave":
                self.told[name] = {}
        elif kind in {"tell", "edges"}:
            self.tell(name, member, kind)

    def tell(self, name: str, member: Process, kind: str) -> None:
        if member.cursor is None:
            member.cursor = member.ledger.watch()
            assert self.demand.snapshot(name, member.incarnation, member.cursor.take(self.now), self.now)
        elif kind == "tell":
            self.demand.update(name, member.incarnation, member.cursor.take(self.now), self.now)
        else:
            self.demand.update(name, member.incarnation, member.cursor.take_edges(self.now), self.now)
            return
        self.told[name] = {size.app: size for size in member.ledger.sizes(self.now)}

    def check(self) -> None:
        for app in (f"a/{n}" for n in range(3)):
            sizes = [told[app] for told in self.told.values() if app in told]
            assert self.demand.held(app) == sum(each.held for each in sizes)
            assert self.demand.level(app) == sum(each.held + each.in_flight for each in sizes)


@settings(max_examples=examples(150), deadline=None)
@given(EVENTS)
def test_the_sum_equals_what_the_members_told(events: list[tuple[str, int, int, int, float]]) -> None:
    fleet = Fleet()
    for kind, member, app, pick, wait in events:
        fleet.now += wait
        # Messages with edges contain only a part of the changes, so the sum is compared after a complete message.
        fleet.step(kind, f"m{member}", f"a/{app}", pick)
        if kind == "edges":
            fleet.step("tell", f"m{member}", f"a/{app}", pick)
        fleet.check()
    for name, process in fleet.members.items():
        for _, lease in process.leases:
            lease.release(fleet.now)
        fleet.tell(name, process, "tell")
    fleet.check()
    for known in fleet.demand.apps(fleet.now):
        assert (known.held, known.in_flight, known.connections) == (0, 0, 0)


@settings(max_examples=examples(100), deadline=None)
@given(EVENTS)
def test_every_request_of_a_watched_member_counts_once(events: list[tuple[str, int, int, int, float]]) -> None:
    """Disconnects lose nothing, repeated messages add nothing: the windows contain everything since the first snapshot."""
    fleet = Fleet()
    for name, process in fleet.members.items():
        fleet.tell(name, process, "tell")
    made: Counter[str] = Counter()
    spent: dict[str, float] = defaultdict(float)
    for kind, member, app, pick, wait in events:
        fleet.now += wait
        if kind in {"retain", "restart", "leave"}:
            continue
        made[f"a/{app}"] += kind in {"hold", "acquire"}
        fleet.step(kind, f"m{member}", f"a/{app}", pick)
    for name, process in fleet.members.items():
        for app_name, lease in process.leases:
            lease.release(fleet.now)
            assert app_name in made
        fleet.tell(name, process, "tell")
        for each in process.ledger.sizes(fleet.now):
            spent[each.app] += each.concurrency_seconds_total
    for each_app, count in made.items():
        state = fleet.demand._apps.get(each_app)
        assert (0.0 if state is None else state.rate.total(fleet.now)) == pytest.approx(count)
        assert (0.0 if state is None else state.concurrency.total(fleet.now)) == pytest.approx(spent[each_app], abs=1e-6)
