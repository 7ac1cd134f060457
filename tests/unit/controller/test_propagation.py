import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.propagation import Interceptor, Missing, Propagation
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.support.full import examples


def route(name: str, host: str = "") -> Route:
    return Route(app=f"shop/{name}", target=Target(f"shop/{name}", 80), rules=(Rule((f"{host or name}.example.com",)),))


def fleet(*names: str, ready: bool = True) -> list[Interceptor]:
    return [Interceptor(name, f"10.0.0.1:{port}", ready) for port, name in enumerate(names, 1)]


A, B = route("a"), route("b")
ONE = RoutingTable([A])
TWO = RoutingTable([A, B])


def test_a_route_is_everywhere_when_all_have_said_so() -> None:
    told = Propagation()
    told.members(fleet("x", "y"))
    assert told.verdict(A) is None
    told.publish(ONE)
    verdict = told.verdict(A)
    assert verdict is not None
    assert (verdict.pending, verdict.everywhere, verdict.total) == (True, False, 2)
    assert told.answered("x", ONE.version, asked=ONE.version)
    told.failed("y", "no answer")
    verdict = told.verdict(A)
    assert verdict is not None
    assert (verdict.serving, verdict.missing, verdict.pending) == (1, (Missing("y", "no answer"),), False)
    assert told.answered("y", ONE.version, asked=ONE.version)
    verdict = told.verdict(A)
    assert verdict is not None
    assert verdict.everywhere
    assert verdict.version == ONE.version


def test_the_change_of_one_says_nothing_about_another() -> None:
    told = Propagation()
    told.members(fleet("x"))
    told.publish(ONE)
    told.answered("x", ONE.version, asked=ONE.version)
    told.changed()
    told.publish(TWO)
    told.failed("x", "no answer in 2 s")
    a, b = told.verdict(A), told.verdict(B)
    assert a is not None
    assert b is not None
    assert a.everywhere
    assert b.missing == (Missing("x", "no answer in 2 s"),)
    assert told.changed() == ["shop/b"]
    assert told.changed() == []


def test_a_route_of_another_table_is_not_known() -> None:
    told = Propagation()
    told.publish(ONE)
    assert told.verdict(B) is None
    assert told.verdict(route("a", "other")) is None
    told.publish(RoutingTable([route("a", "other")]))
    assert told.verdict(A) is None


def test_a_pod_that_starts_does_not_count_and_one_that_has_served_does() -> None:
    told = Propagation()
    told.members(fleet("x", ready=False))
    told.publish(ONE)
    verdict = told.verdict(A)
    assert verdict is not None
    assert (verdict.total, verdict.everywhere) == (0, False)
    told.answered("x", ONE.version, asked=ONE.version)
    told.publish(TWO)
    told.failed("x", "no answer")
    verdict = told.verdict(B)
    assert verdict is not None
    assert verdict.missing == (Missing("x", "no answer"),)


def test_no_interceptor_is_missing_before_the_list_of_them_is_known() -> None:
    told = Propagation()
    told.publish(ONE)
    verdict = told.verdict(A)
    assert verdict is not None
    assert verdict.pending
    told.members([])
    verdict = told.verdict(A)
    assert verdict is not None
    assert (verdict.pending, verdict.total, verdict.everywhere) == (False, 0, False)


def test_a_version_that_nobody_has_written_counts_for_nothing() -> None:
    told = Propagation()
    told.members(fleet("x"))
    told.publish(ONE)
    assert not told.answered("x", "older", asked=ONE.version)
    verdict = told.verdict(A)
    assert verdict is not None
    assert verdict.missing == (Missing("x", "serves version older"),)
    assert told.behind("x")


def test_a_claim_that_is_free_is_served_once_all_have_heard_that_it_is() -> None:
    older, younger = route("a", "shared"), route("b", "shared")
    told = Propagation()
    told.members(fleet("x"))
    both = RoutingTable([older, younger])
    told.publish(both)
    told.answered("x", both.version, asked=both.version)
    verdict = told.verdict(younger)
    assert verdict is not None
    assert verdict.everywhere
    left = RoutingTable([younger])
    told.publish(left)
    verdict = told.verdict(younger)
    assert verdict is not None
    assert (verdict.pending, verdict.everywhere) == (True, False)
    told.answered("x", left.version, asked=left.version)
    verdict = told.verdict(younger)
    assert verdict is not None
    assert verdict.everywhere


def test_an_interceptor_may_be_faster_than_the_news_that_the_table_is_written() -> None:
    told = Propagation()
    told.members(fleet("x"))
    told.publish(ONE)
    told.expect(TWO)
    assert told.version == ONE.version
    assert told.verdict(B) is None
    assert told.answered("x", TWO.version, asked=ONE.version)
    verdict = told.verdict(A)
    assert verdict is not None
    assert verdict.everywhere
    told.changed()
    told.publish(TWO)
    assert told.changed() == ["shop/b"]
    assert not told.behind("x")


def test_what_a_table_brings_is_news_even_where_all_serve_it_before_anybody_asks() -> None:
    told = Propagation()
    told.members(fleet("x"))
    told.publish(ONE)
    told.answered("x", ONE.version, asked=ONE.version)
    assert told.changed() == ["shop/a"]
    changed = RoutingTable([msgspec.structs.replace(A, server_timing=True)])
    told.expect(changed)
    assert told.verdict(changed.routes[0]) is None, "and that may be told of it now"
    told.publish(changed)
    told.answered("x", changed.version, asked=changed.version)
    assert told.changed() == ["shop/a"]
    assert told.changed() == []


def test_a_table_that_was_expected_and_not_written_leaves_nothing_behind() -> None:
    told = Propagation()
    told.members(fleet("x"))
    told.publish(ONE)
    told.answered("x", ONE.version, asked=ONE.version)
    told.expect(TWO)
    told.expect(ONE)
    told.publish(ONE)
    told.answered("x", ONE.version, asked=ONE.version)
    verdict = told.verdict(A)
    assert verdict is not None
    assert verdict.everywhere
    assert told.verdict(B) is None


def test_an_answer_that_was_overtaken_by_another_table_is_no_fault() -> None:
    told = Propagation()
    told.members(fleet("x"))
    told.publish(ONE)
    told.publish(TWO)
    assert told.answered("x", ONE.version, asked=ONE.version)
    assert told.behind("x")
    verdict = told.verdict(B)
    assert verdict is not None
    assert (verdict.pending, verdict.missing) == (True, ())


def test_back_to_a_table_that_was_there_before() -> None:
    told = Propagation()
    told.members(fleet("x"))
    for table in (ONE, TWO, ONE):
        told.publish(table)
        assert told.behind("x")
        assert told.answered("x", table.version, asked=table.version)
    verdict = told.verdict(A)
    assert verdict is not None
    assert verdict.everywhere


def test_the_newest_table_has_a_verdict_about_each_of_its_routes() -> None:
    told = Propagation()
    for table in (ONE, TWO, ONE, TWO):
        told.publish(table)
        assert all(told.verdict(one) is not None for one in table.routes)


class Fleet(RuleBasedStateMachine):
    """Compared with a model that knows which member serves which table."""

    def __init__(self) -> None:
        super().__init__()
        self.told = Propagation()
        self.members = ["x", "y", "z"]
        self.told.members(fleet(*self.members))
        self.tables: list[RoutingTable] = []
        self.served: dict[str, RoutingTable] = {}

    @rule(apps=st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")))
    def publish(self, apps: dict[str, str]) -> None:
        self.tables.append(RoutingTable([route(name, host) for name, host in apps.items()]))
        self.told.publish(self.tables[-1])

    @rule(apps=st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")), name=st.sampled_from("xyz"))
    def expect(self, apps: dict[str, str], name: str) -> None:
        """A table that may be in the store, and an interceptor that has read it there."""
        table = RoutingTable([route(name, host) for name, host in apps.items()])
        if not self.tables:
            return
        self.told.expect(table)
        assert self.told.answered(name, table.version, asked=self.tables[-1].version) == (name in self.members)
        if name in self.members:
            self.served[name] = table

    @rule(name=st.sampled_from("xyz"), back=st.integers(0, 3))
    def answer(self, name: str, back: int) -> None:
        if len(self.tables) > back:
            table = self.tables[-1 - back]
            self.told.answered(name, table.version, asked=self.tables[-1].version)
            if name in self.members:
                self.served[name] = table

    @rule(name=st.sampled_from("xyz"))
    def fail(self, name: str) -> None:
        self.told.failed(name, "no answer")

    @rule(names=st.sets(st.sampled_from("xyz"), min_size=1))
    def exist(self, names: set[str]) -> None:
        self.members = sorted(names)
        self.served = {name: table for name, table in self.served.items() if name in names}
        self.told.members(fleet(*self.members))

    def serves(self, table: RoutingTable, one: Route) -> bool:
        """Whether requests for the route have the same result as with the newest table."""
        (host,) = one.rules[0].hosts
        found, wanted = (each.match(host.encode(), b"/", ()) for each in (table, self.tables[-1]))
        return table.apps.get(one.app) == one and (found == one) == (wanted == one)

    @invariant()
    def everywhere_is_never_said_too_early(self) -> None:
        for one in self.tables[-1].routes if self.tables else ():
            verdict = self.told.verdict(one)
            if verdict is None:  # another is expected
                continue
            serving = [name for name in self.members if name in self.served and self.serves(self.served[name], one)]
            assert verdict.serving <= len(serving)
            if verdict.everywhere:
                assert serving == self.members
            if len(self.served) == len(self.members) and all(t.version == self.tables[-1].version for t in self.served.values()):
                assert verdict.everywhere


Fleet.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=20, deadline=None)
TestFleet = Fleet.TestCase
