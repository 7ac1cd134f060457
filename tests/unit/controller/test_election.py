from hypothesis import given, settings
from hypothesis import strategies as st

from controller.election import GIVE_UP, Election, Lease

DURATION = 10.0


def held(holder: str, renewed: str = "1", duration: float = DURATION) -> Lease:
    return Lease(holder, duration, renewed, 3, "7")


def test_nobodys_lease_may_be_taken() -> None:
    election = Election("me", DURATION)
    election.observed(None, 0.0)
    assert election.may_take(0.0)
    assert not election.leads(0.0)
    election.observed(held(""), 0.0)
    assert election.may_take(0.0)
    assert election.next_transitions == 4


def test_another_ones_runs_out_by_our_own_clock() -> None:
    election = Election("me", DURATION)
    election.observed(held("you", "1"), 100.0)
    assert not election.may_take(109.9)
    assert election.may_take(110.0)
    election.observed(held("you", "2"), 109.0)
    assert not election.may_take(118.9)
    election.observed(held("you", "2"), 118.0)
    assert election.may_take(119.0)


def test_a_leader_stops_before_anyone_may_follow() -> None:
    election = Election("me", DURATION)
    election.renewed(held("me"), asked_at=50.0, now=52.0)
    assert election.leads(50.0 + DURATION * GIVE_UP - 0.1)
    assert not election.leads(50.0 + DURATION * GIVE_UP + 0.1)
    election.lost()
    assert not election.leads(50.0)
    assert election.renew_every == 2.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0.1, 4.0), st.floats(0.0, 3.0), st.booleans()), max_size=60))
def test_there_are_never_two_leaders(steps: list[tuple[str, float, float, bool]]) -> None:
    """Two controllers, a store that only accepts updates of the current version, and requests that are delayed or lost."""
    elections = {name: Election(name, DURATION) for name in "ab"}
    stored: Lease | None = None
    now, version = 0.0, 0
    for name, pause, delay, reachable in steps:
        now += pause
        election = elections[name]
        if not reachable:
            continue
        asked = now
        if not election.leads(now):
            election.observed(stored, now)
            if not election.may_take(now):
                continue
        known = election.lease
        now += delay
        if (None if known is None else known.version) != (None if stored is None else stored.version):
            election.lost()
        else:
            version += 1
            stored = Lease(name, DURATION, f"renewed {version}", election.next_transitions, str(version))
            election.renewed(stored, asked, now)
        assert sum(one.leads(now) for one in elections.values()) <= 1
