"""When names are looked up, and what stays of what was found. Time is an argument."""

from __future__ import annotations

import logging

import pytest

from fleet.discovery.outside.lookup import Denied, Failed, Found, Result
from fleet.discovery.outside.names import GONE_AFTER, LONGEST_PAUSE, MAX_BACKENDS, MAX_NAMES, PLACES, Names, Ttl
from fleet.discovery.outside.policy import AddressPolicy
from fleet.discovery.sources import NO_ADDRESS, REFUSED_ADDRESS

A = "a.test"
ONE, TWO = "192.0.2.1", "192.0.2.2"
SIX = "2001:db8::1"


def names(policy: str = "192.0.2.0/24,2001:db8::/32", least: float = 5.0, most: float = 300.0) -> Names:
    return Names(AddressPolicy.parse(policy), Ttl(least, most), uniform=lambda: 0.0)


def found(*v4: str, v6: tuple[str, ...] | None = (), ttl: float = 30.0, name: str = "a.test.") -> Found:
    return Found(name, v4, v6, ttl)


def look(known: Names, result: Result, now: float, name: str = A) -> float:
    """One look-up of the only name that is due; returns the pause until the next one."""
    (taken,) = known.take(now)
    assert taken[0] == name
    known.answered(*taken, result, now)
    due = known.next_due()
    assert due is not None
    assert known.take(due - 0.01) == []
    return due - now


def test_an_answer_is_used_as_long_as_its_ttl_says_within_bounds() -> None:
    known, now = names(), 0.0
    known.want([A], now)
    assert known.untried
    for ttl, pause in ((30.0, 30.0), (0.0, 5.0), (4.9, 5.0), (299.0, 299.0), (86400.0, 300.0), (float(0x7FFFFFFF), 300.0)):
        assert look(known, found(ONE, ttl=ttl), now) == pause
        now += pause
    assert not known.untried
    assert known.addresses(A) == (ONE,)


def test_a_fleet_does_not_ask_at_once() -> None:
    known = Names(AddressPolicy.parse("192.0.2.1"), Ttl(5.0, 300.0), uniform=lambda: 1.0)
    known.want([A], 0.0)
    assert look(known, found(ONE, ttl=100.0), 0.0) == pytest.approx(110.0)


def test_a_name_that_flips_is_followed() -> None:
    known, now = names(), 0.0
    known.want([A], now)
    for address in (ONE, TWO, ONE, TWO):
        now += look(known, found(address, ttl=0.0), now)
        assert known.addresses(A) == (address,)


def test_addresses_stay_while_no_server_answers_with_growing_bounded_pauses() -> None:
    known, now = names(), 0.0
    known.want([A], now)
    now += look(known, found(ONE), now)
    pauses = []
    for _ in range(8):
        pauses.append(look(known, Failed("SERVFAIL"), now))
        now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert known.addresses(A) == (ONE,)
    trouble = known.trouble(A)
    assert trouble is not None
    assert (trouble.kind, trouble.hopeless, trouble.reason) == (NO_ADDRESS, False, "its name is not resolved: SERVFAIL")
    look(known, found(TWO), now)
    assert (known.addresses(A), known.trouble(A)) == ((TWO,), None)


def test_requests_wait_for_a_name_of_which_nothing_is_known_yet() -> None:
    known = names()
    known.want([A], 0.0)
    assert known.trouble(A) is None
    look(known, Failed("no answer within 2 s"), 0.0)
    trouble = known.trouble(A)
    assert trouble is not None
    assert not trouble.hopeless


def test_a_name_that_is_gone_loses_its_addresses_only_when_that_is_said_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    known, now = names(), 0.0
    known.want([A], now)
    now += look(known, found(ONE), now)
    with caplog.at_level(logging.WARNING):
        for _ in range(GONE_AFTER - 1):
            now += look(known, Denied("NXDOMAIN", 3600.0), now)
            assert known.addresses(A) == (ONE,)
            trouble = known.trouble(A)
            assert trouble is not None
            assert not trouble.hopeless
        now += look(known, Denied("NXDOMAIN", 3600.0), now)
    assert known.addresses(A) == ()
    trouble = known.trouble(A)
    assert trouble is not None
    assert (trouble.kind, trouble.hopeless, trouble.reason) == (NO_ADDRESS, True, "its name does not exist (NXDOMAIN)")
    assert [record.getMessage() for record in caplog.records] == [
        "a.test: its name does not exist (NXDOMAIN); its last addresses stay",
        "a.test: its name does not exist (NXDOMAIN)",
    ]


def test_one_answer_in_between_begins_the_count_anew() -> None:
    known, now = names(), 0.0
    known.want([A], now)
    now += look(known, found(ONE), now)
    for _ in range(4):
        for result in (Denied("no address", 0.0), Failed("x"), Denied("no address", 0.0), found(ONE)):
            now += look(known, result, now)
            assert known.addresses(A) == (ONE,)


def test_what_does_not_exist_is_asked_for_at_most_so_seldom() -> None:
    known = names()
    known.want([A], 0.0)
    assert look(known, Denied("NXDOMAIN", 86400.0), 0.0) == LONGEST_PAUSE
    trouble = known.trouble(A)
    assert trouble is not None
    assert trouble.hopeless


def test_a_family_of_which_nothing_is_known_keeps_its_addresses() -> None:
    known, now = names(), 0.0
    known.want([A], now)
    now += look(known, found(ONE, v6=(SIX,)), now)
    assert known.addresses(A) == (ONE, SIX)
    now += look(known, found(TWO, v6=None), now)
    assert known.addresses(A) == (TWO, SIX)
    now += look(known, found(TWO, v6=()), now)
    assert known.addresses(A) == (TWO,)
    now += look(known, found(TWO, v6=(SIX,)), now)
    look(known, found(ONE, v6=None, name="a.test.other."), now)  # found elsewhere: not the same machines
    assert known.addresses(A) == (ONE,)


def test_an_answer_that_leads_to_forbidden_places_is_refused_also_later() -> None:
    known, now = names("public"), 0.0
    known.want([A], now)
    now += look(known, found("8.8.8.8"), now)
    now += look(known, found("8.8.8.8", "10.0.0.1", "127.0.0.1", v6=("::1",)), now)
    assert (known.addresses(A), known.trouble(A)) == (("8.8.8.8",), None)
    now += look(known, found("169.254.169.254"), now)  # rebinding
    assert known.addresses(A) == ()
    trouble = known.trouble(A)
    assert trouble is not None
    assert (trouble.kind, trouble.hopeless) == (REFUSED_ADDRESS, True)
    assert "169" not in trouble.reason, "clients read it"
    look(known, found("8.8.4.4"), now)
    assert (known.addresses(A), known.trouble(A)) == (("8.8.4.4",), None)


def test_the_name_that_was_found_is_the_one_that_has_to_be_allowed() -> None:
    known, now = names("*.corp.test"), 0.0
    known.want([A], now)
    now += look(known, found("10.0.0.1", name="a.test.corp.test."), now)
    assert known.addresses(A) == ("10.0.0.1",)
    look(known, found("10.0.0.1", name="a.test."), now)
    assert known.addresses(A) == ()


def test_a_huge_answer_becomes_so_many_backends_always_the_same() -> None:
    known, now = names("10.0.0.0/8"), 0.0
    known.want([A], now)
    every = [f"10.0.{n >> 8}.{n & 255}" for n in range(900)]
    now += look(known, found(*every), now)
    first = known.addresses(A)
    assert len(first) == MAX_BACKENDS
    look(known, found(*reversed(every)), now)
    assert known.addresses(A) == first


def test_look_ups_at_once_are_bounded_and_silent_names_delay_nobody() -> None:
    known = names()
    known.want([A, *(f"silent{n}.test" for n in range(500))], 0.0)
    running: list[tuple[float, tuple[str, str]]] = []
    looked: list[int] = []
    for now in range(3600):
        for ends, taken in [one for one in running if one[0] <= now]:
            running.remove((ends, taken))
            known.answered(*taken, Failed("no answer"), float(now))
        for taken in known.take(float(now)):
            if taken[0] == A:
                looked.append(now)
                known.answered(*taken, found(ONE, ttl=5.0), float(now))
            else:
                running.append((now + 6.0, taken))
        lanes = [lane for _, (_, lane) in running]
        assert all(lanes.count(lane) <= places for lane, places in PLACES.items())
        assert len(lanes) <= PLACES["new"] + PLACES["failing"]
    assert looked == [*range(0, 3600, 5)]
    assert not known.untried


def test_a_name_that_is_no_longer_wanted_is_forgotten_and_its_look_up_too() -> None:
    known = names()
    known.want([A], 0.0)
    (taken,) = known.take(0.0)
    known.want(["b.test"], 0.0)
    assert not known.answered(*taken, found(ONE), 1.0)
    assert (len(known), known.addresses(A)) == (1, ())
    (other,) = known.take(1.0)
    assert other[0] == "b.test"
    known.want([], 1.0)
    known.answered(*other, found(ONE), 1.0)
    known.want([f"n{n}.test" for n in range(PLACES["new"])], 2.0)
    assert len(known.take(2.0)) == PLACES["new"], "all places are free again"


def test_there_is_an_end_of_names(caplog: pytest.LogCaptureFixture) -> None:
    known = names()
    many = [f"n{n}.test" for n in range(MAX_NAMES + 5)]
    known.want(many, 0.0)
    known.want(many, 0.0)
    assert len(known) == MAX_NAMES
    trouble = known.trouble(many[-1])
    assert trouble is not None
    assert trouble.hopeless
    assert [record.getMessage() for record in caplog.records] == [
        "10005 names to look up, at most 10000 are possible: the others have no backends"
    ]
