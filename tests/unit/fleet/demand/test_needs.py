"""What is active because others that depend on it have demand."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.demand import needs as needs_module
from fleet.demand.ledger import QueueSize
from fleet.demand.merge import AppPolicy, FleetDemand, Metric
from fleet.demand.needs import REMAKE_SECONDS, Need
from tests.support.full import examples

PERIOD = 15.0
CHAIN = {"a/web": [Need("a/api"), Need("a/log", keep=False)], "a/api": [Need("a/db")]}


class Fleet:
    """One member; the sizes of each application are set, as an interceptor tells them."""

    def __init__(self, needs: dict[str, list[Need]]) -> None:
        self.woken: list[str] = []
        self.demand = FleetDemand(on_wake=self.woken.append)
        self.apps = sorted({*needs, *(each.app for named in needs.values() for each in named)})
        self.demand.configure({app: AppPolicy(activity_period=PERIOD) for app in self.apps})
        self.demand.needs.configure(needs, 0.0)
        self.demand.snapshot("m", "i", [], 0.0)
        self._totals = dict.fromkeys(self.apps, 0)

    def tell(self, app: str, now: float, *, held: int = 0, flight: int = 0, new: int = 0) -> list[str]:
        """Returns what woke by that."""
        self._totals[app] += new
        before = len(self.woken)
        self.demand.update("m", "i", [QueueSize(app, held, flight, 0, self._totals[app], 0.0, 1)], now)
        return self.woken[before:]

    def active(self, now: float) -> set[str]:
        return {app for app in self.apps if self.demand.active(app, now)}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(CHAIN)


def test_the_first_request_wakes_all_of_a_chain_at_once(fleet: Fleet) -> None:
    assert fleet.active(1.0) == set()
    woken = fleet.tell("a/web", 1.0, held=1, new=1)
    assert (woken[0], sorted(woken)) == ("a/web", ["a/api", "a/db", "a/log", "a/web"])
    assert fleet.active(1.0) == {"a/web", "a/api", "a/db", "a/log"}
    assert {app: fleet.demand.needs.awake_for(app, 1.0) for app in fleet.apps if app != "a/web"} == dict.fromkeys(
        ("a/api", "a/db", "a/log"), "a/web"
    )
    assert all(fleet.demand.needs.holds(app, 1.0) for app in ("a/api", "a/db", "a/log"))
    assert not fleet.demand.needs.holds("a/web", 1.0)


def test_it_keeps_them_awake_as_long_as_it_is_active_itself(fleet: Fleet) -> None:
    fleet.tell("a/web", 1.0, held=1, new=1)
    assert fleet.tell("a/web", 2.0, flight=1) == []
    assert not fleet.demand.needs.holds("a/db", 2.0), "nothing waits any more, so no push is to be repeated"
    assert fleet.active(100.0) == {"a/web", "a/api", "a/db"}, "the log was only woken"
    fleet.tell("a/web", 100.0)
    assert fleet.active(100.0 + PERIOD - 0.1) == {"a/web", "a/api", "a/db"}
    assert fleet.active(100.0 + PERIOD) == set()


def test_being_kept_awake_is_no_demand(fleet: Fleet) -> None:
    fleet.tell("a/api", 1.0, flight=1, new=1)
    assert fleet.active(1.0) == {"a/api", "a/db"}
    fleet.tell("a/web", 2.0, flight=1, new=1)
    fleet.tell("a/api", 3.0)
    assert fleet.demand.value("a/db", Metric.CONCURRENCY, 4.0) == 0.0
    assert fleet.demand.needs.awake_for("a/api", 50.0) == "a/web"
    assert fleet.demand.needs.awake_for("a/db", 50.0) == "a/web"
    fleet.tell("a/web", 60.0)
    assert fleet.active(60.0 + PERIOD) == set()


def test_the_next_one_takes_over(fleet: Fleet) -> None:
    demand = Fleet({"a/one": [Need("a/db")], "a/two": [Need("a/db")]})
    demand.tell("a/one", 1.0, held=1, new=1)
    assert demand.tell("a/two", 1.0, held=1, new=1) == ["a/two"], "the database is waking already"
    demand.tell("a/one", 1.1)
    assert demand.demand.needs.holds("a/db", 1.1 + REMAKE_SECONDS)
    assert demand.demand.needs.awake_for("a/db", 1.1 + REMAKE_SECONDS) == "a/two"
    demand.tell("a/two", 2.0)
    assert demand.active(2.0 + PERIOD) == set()


def test_a_dependency_that_is_new_wakes_for_the_demand_that_there_is(fleet: Fleet) -> None:
    fleet.tell("a/web", 1.0, flight=1, new=1)
    fleet.woken.clear()
    fleet.demand.needs.configure({**CHAIN, "a/web": [*CHAIN["a/web"], Need("a/new")]}, 2.0)
    assert fleet.woken == ["a/new"]
    fleet.demand.needs.configure({}, 3.0)
    assert fleet.active(3.0) == {"a/web"}
    assert fleet.demand.app("a/new", 3.0) is None


def test_a_lease_of_the_dependent_keeps_them_awake(fleet: Fleet) -> None:
    fleet.demand.leased.keep("a/web", 1, 1.0)
    assert sorted(fleet.woken) == ["a/api", "a/db", "a/web"]
    assert fleet.active(500.0) == {"a/web", "a/api", "a/db"}


def test_what_is_told_of_one_without_requests_of_its_own(fleet: Fleet) -> None:
    assert fleet.demand.app("a/db", 1.0) is None
    fleet.tell("a/web", 1.0, held=1, new=1)
    told = {app.app: app for app in fleet.demand.apps(1.0)}
    assert (told["a/db"].active, told["a/db"].awake_for, told["a/db"].held) == (True, "a/web", 0)
    assert (told["a/web"].active, told["a/web"].awake_for, told["a/web"].held) == (True, "", 1)


def test_a_circle_does_not_keep_itself_awake() -> None:
    """No table has one. It would do no harm."""
    fleet = Fleet({"a/a": [Need("a/b")], "a/b": [Need("a/a")]})
    assert fleet.tell("a/a", 1.0, held=1, new=1) == ["a/a", "a/b"]
    fleet.tell("a/a", 2.0)
    assert fleet.active(2.0 + PERIOD) == set()


def _naive(needs: dict[str, list[Need]], roots: Iterable[str], *, waking: bool) -> set[str]:
    found: set[str] = set()
    open_ = [*roots]
    while open_:
        for need in needs.get(open_.pop(), ()):
            if (waking or need.keep) and need.app not in found:
                found.add(need.app)
                open_.append(need.app)
    return found


_names = st.integers(0, 6)
_edges = st.dictionaries(_names, st.dictionaries(_names, st.booleans(), max_size=3), max_size=7)
_steps = st.lists(
    st.tuples(_names, st.integers(0, 1), st.integers(0, 1), st.sampled_from([0.01, 0.3, 5.0, 16.0]), st.booleans()), max_size=12
)


@settings(max_examples=examples(400))
@given(_edges, _steps)
def test_it_equals_a_naive_walk_at_every_time(
    edges: dict[int, dict[int, bool]], steps: list[tuple[int, int, int, float, bool]]
) -> None:
    needs = {
        f"a/{one}": [Need(f"a/{other}", keep) for other, keep in named.items() if other > one] for one, named in edges.items()
    }
    needs["a/0"] = needs.get("a/0", [])
    fleet, now = Fleet(needs), 1.0

    def right(now: float) -> set[str]:
        states = {app: state for app, state in fleet.demand._apps.items() if app in fleet.apps}
        own = {app for app, state in states.items() if state.active(now)}
        held = {app for app, state in states.items() if state.held}
        return own | _naive(needs, held, waking=True) | _naive(needs, own, waking=False)

    for number, held, flight, pause, is_asked in steps:
        app = f"a/{number}"
        if app not in fleet.apps:
            continue
        before = right(now)
        woken = fleet.tell(app, now, held=held, flight=flight, new=held)
        assert right(now) - before <= set(woken), "whatever becomes active is told at once, though nobody has asked"
        if is_asked:
            assert right(now) <= fleet.active(now), "nothing that is needed is said to be inactive, not even for a moment"
            now += REMAKE_SECONDS
            assert fleet.active(now) == right(now)
        now += pause


def test_a_second_wake_is_told_though_nobody_has_asked_since_the_first() -> None:
    """As by a scaler that KEDA comes to from another one."""
    fleet = Fleet(CHAIN)
    for now in (1.0, 100.0):
        assert sorted(fleet.tell("a/web", now, held=1, new=1)) == ["a/api", "a/db", "a/log", "a/web"]
        fleet.tell("a/web", now + 1)


def test_namespaces_are_apart() -> None:
    fleet = Fleet({"a/web": [Need("a/db")], "b/web": [Need("b/db")]})
    assert fleet.tell("b/web", 1.0, held=1, new=1) == ["b/web", "b/db"]
    assert fleet.active(1.0) == {"b/web", "b/db"}


def test_endless_wakes_are_bounded_and_the_last_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application whose requests come and go: all that it needs is told each time, within bounds."""
    monkeypatch.setattr(needs_module, "LEAST_STEPS", 20)
    fleet = Fleet({"a/web": [Need(f"a/{number}") for number in range(10)], "a/late": [Need("a/db")]})
    told = 0
    for number in range(100):
        now = 1.0 + number * 0.001
        told += len(fleet.tell("a/web", now, held=1, new=1)) - 1
        fleet.tell("a/web", now)
    assert 10 <= told <= 10 * (needs_module.WALKS + 1)
    assert fleet.tell("a/late", 1.2, held=1, new=1) == ["a/late"], "it has to wait"
    fleet.woken.clear()
    assert fleet.demand.active("a/db", 1.2 + REMAKE_SECONDS)
    assert "a/db" in fleet.woken


def test_a_wake_costs_as_much_as_there_are_dependencies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by the applications that are asked for their state: a thousand in a chain, and a thousand behind one."""
    count = 1000
    chain = {f"a/{number}": [Need(f"a/{number + 1}")] for number in range(count)}
    fan = {"a/0": [Need(f"a/{number}") for number in range(1, count + 1)]}
    for needs in (chain, fan):
        fleet = Fleet({app: [*named] for app, named in needs.items()})
        asked = 0
        real = needs_module._Group._is_active

        def counted(self: object, app: str, now: float, real: object = real) -> bool:
            nonlocal asked
            asked += 1
            return bool(real(self, app, now))  # type: ignore[operator]

        monkeypatch.setattr(needs_module._Group, "_is_active", counted)
        assert len(fleet.tell("a/0", 1.0, held=1, new=1)) == count + 1
        fleet.tell("a/0", 2.0, flight=1)
        assert len(fleet.active(3.0)) == count + 1
        fleet.tell("a/0", 4.0)
        assert fleet.active(50.0) == set()
        assert asked < 5 * count
        monkeypatch.undo()
