"""The bounds on flows, and which flow ends for another one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.udp.flows import ANSWERED_SECONDS, FEWEST, UNANSWERED_SECONDS, VAIN_SECONDS, Flows, source_of


class Flow:
    protocol, requests, trusted, peer, activity, since = "UDP", 0, False, b"", "", 0.0

    def __init__(self, flows: Flows, app: str = "n/a", source: str = "s", last: float = 0.0, *, waits: bool = False) -> None:
        self.app_name, self.source, self.answered, self.waits, self.last = app, source, False, waits, last
        self.ended = 0
        self._flows = flows
        flows.add(self)

    def idle_for(self, now: float) -> float:
        return now - self.last

    def answer(self) -> Flow:
        self._flows.note_answered(self)
        self.answered = True
        return self

    def end(self, now: float) -> None:
        self.ended += 1
        self._flows.remove(self)


def flows(most: int = 100, of_source: int = 0, apps: tuple[str, ...] = ("n/a",)) -> Flows:
    found = Flows(most, of_source, 1000)
    found.share_out(apps)
    return found


def test_an_idle_unanswered_flow_ends_first_then_an_idle_answered_one_and_then_none() -> None:
    all_of_them = flows(3)
    answered = Flow(all_of_them, last=0.0).answer()
    unanswered = Flow(all_of_them, last=50.0)
    busy = Flow(all_of_them, last=100.0).answer()
    assert all_of_them.make_room("n/a", "s", 100.0) == ""
    assert (unanswered.ended, answered.ended, busy.ended) == (1, 0, 0)
    Flow(all_of_them, last=100.0)
    assert all_of_them.make_room("n/a", "s", 100.0) == ""
    assert (answered.ended, busy.ended) == (1, 0)
    Flow(all_of_them, last=100.0)
    assert all_of_them.make_room("n/a", "s", 100.0 + UNANSWERED_SECONDS / 2) == "flows"
    assert all_of_them.make_room("n/a", "s", 100.0 + UNANSWERED_SECONDS / 2 + VAIN_SECONDS / 2) == "flows"
    assert (len(all_of_them), busy.ended, all_of_them.evicted) == (3, 0, 2)


def test_flows_that_wait_do_not_end_for_others_of_their_application() -> None:
    all_of_them = flows(2)
    waiting = [Flow(all_of_them, waits=True) for _ in range(2)]
    assert all_of_them.make_room("n/a", "s", 1e6) == "flows"
    assert not any(flow.ended for flow in waiting)


def test_an_application_has_half_where_there_are_several() -> None:
    all_of_them = flows(100, apps=("n/a", "n/b", "n/c"))
    for _ in range(50):
        assert all_of_them.make_room("n/a", "s", 0.0) == ""
        Flow(all_of_them)
    assert all_of_them.make_room("n/a", "s", 0.0) == "flows"
    assert all_of_them.make_room("n/b", "s", 0.0) == ""


def test_an_application_with_few_flows_gets_one_of_another_that_has_more() -> None:
    all_of_them = flows(100, apps=("n/a", "n/b", "n/c"))
    flood = [Flow(all_of_them, "n/a") for _ in range(50)]
    other = [Flow(all_of_them, "n/b").answer() for _ in range(50)]
    for number in range(33):
        assert all_of_them.make_room("n/c", "s", number * 0.02) == "", number
        Flow(all_of_them, "n/c")
    assert len(all_of_them) == 100
    ended = sum(flow.ended for flow in flood), sum(flow.ended for flow in other)
    assert sum(ended) == 33
    assert min(ended) > 0 or ended == (33, 0)


def test_a_source_has_a_bound_of_its_own() -> None:
    all_of_them = flows(100, of_source=FEWEST)
    first = Flow(all_of_them, source="bad", last=-100.0)
    for _ in range(FEWEST - 1):
        Flow(all_of_them, source="bad")
    assert all_of_them.make_room("n/a", "bad", 0.0) == ""
    assert first.ended == 1
    Flow(all_of_them, source="bad")
    assert all_of_them.make_room("n/a", "bad", 0.0) == "source_flows"
    assert all_of_them.make_room("n/a", "good", 0.0) == ""


def test_a_flood_costs_a_bounded_look_for_each_datagram() -> None:
    all_of_them = flows(10_000)
    looked = 0

    class Counted(Flow):
        def idle_for(self, now: float) -> float:
            nonlocal looked
            looked += 1
            return 0.0

    for number in range(10_000):
        Counted(all_of_them, source=str(number))
    for number in range(100):
        assert all_of_them.make_room("n/a", f"new {number}", VAIN_SECONDS * number) == "flows"
    assert 100 < looked <= 100 * 16
    for number in range(100):
        assert all_of_them.make_room("n/a", f"new {number}", VAIN_SECONDS * 200) == "flows"
    assert looked <= 101 * 16


def test_kept_bytes_are_bounded() -> None:
    all_of_them = flows()
    assert all_of_them.keep(600)
    assert not all_of_them.keep(401)
    all_of_them.give_back(600)
    assert all_of_them.keep(1000)


def test_idle_ones_end_and_waiting_ones_do_not() -> None:
    all_of_them = flows()
    idle, busy, waiting = Flow(all_of_them), Flow(all_of_them, last=9.0).answer(), Flow(all_of_them, waits=True)
    all_of_them.end_idle(10.0, 2.0)
    assert (idle.ended, busy.ended, waiting.ended) == (1, 0, 0)
    all_of_them.close(10.0)
    assert (len(all_of_them), list(all_of_them)) == (0, [])


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("2001:db8:1:2::1", "20010db800010002"),
        ("fe80::1%eth0", "fe80000000000000"),
        ("::1", "0"),
    ],
)
def test_a_source_is_an_address_or_a_network_of_ipv6(host: str, source: str) -> None:
    assert source_of(host).zfill(len(source)) == source


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(("add", "answer", "end")))))
def test_counts_are_right_after_anything(steps: list[tuple[str, str, str]]) -> None:
    all_of_them = flows(40, of_source=18, apps=("a", "b", "c"))
    open_flows: list[Flow] = []
    for now, (app, source, what) in enumerate(steps):
        open_flows = [flow for flow in open_flows if not flow.ended]
        if what == "add" and not all_of_them.make_room(app, source, now):
            open_flows.append(Flow(all_of_them, app, source, now))
        elif what == "answer" and open_flows and not open_flows[now % len(open_flows)].answered:
            open_flows[now % len(open_flows)].answer()
        elif what == "end" and open_flows:
            open_flows[now % len(open_flows)].end(now)
        open_flows = [flow for flow in open_flows if not flow.ended]
        assert set(all_of_them) == set(open_flows)
        assert len(all_of_them) == len(open_flows) <= 40
        assert max(Counter(flow.app_name for flow in open_flows).values(), default=0) <= 20
        assert max(Counter(flow.source for flow in open_flows).values(), default=0) <= 18
    assert all(flow.ended <= 1 for flow in open_flows)
    assert ANSWERED_SECONDS > UNANSWERED_SECONDS
