"""The waiting room: first in, first out, with two limits, and removal from any position."""

from __future__ import annotations

from interceptor.app.waiting import WaitingRoom


def room(limit: int = 10, limit_bytes: int = 1000) -> WaitingRoom[str]:
    return WaitingRoom(limit, limit_bytes)


def enter(into: WaitingRoom[str], waiters: str, *, now: float = 0.0, size: int = 1, again: bool = False) -> list[bool]:
    return [into.enter(waiter, now=now, size=size, again=again) for waiter in waiters]


def test_the_oldest_is_first_whoever_left() -> None:
    place = room()
    assert all(enter(place, "abcd"))
    place.leave("a")
    place.leave("c")
    assert place.first() == "b"
    place.leave("b")
    place.leave("b")
    assert (place.first(), len(place)) == ("d", 1)


def test_one_that_comes_back_is_first_and_those_that_do_keep_their_order() -> None:
    place = room()
    enter(place, "abcd")
    place.leave("a")
    place.leave("b")
    enter(place, "ab", again=True)
    order = []
    while (waiter := place.first()) is not None:
        order.append(waiter)
        place.leave(waiter)
    assert order == ["a", "b", "c", "d"]


def test_one_that_came_back_and_left_is_forgotten() -> None:
    place = room()
    enter(place, "a")
    enter(place, "b", again=True)
    place.leave("b")
    assert place.first() == "a"
    enter(place, "b")
    assert place.first() == "a"


def test_it_is_bounded_and_a_place_left_is_free() -> None:
    place = room(2)
    assert enter(place, "abc") == [True, True, False]
    place.leave("a")
    assert enter(place, "c") == [True]
    assert list(place) == ["b", "c"]


def test_its_bytes_are_bounded_and_given_back() -> None:
    place = room(limit_bytes=100)
    assert enter(place, "ab", size=45) == [True, True]
    assert (enter(place, "c", size=11), enter(place, "d", size=10)) == ([False], [True])
    assert place.held_bytes == 100
    place.leave("c")
    place.leave("a")
    assert enter(place, "c", size=45) == [True]
    for waiter in list(place):
        place.leave(waiter)
    assert place.held_bytes == 0


def test_one_that_comes_back_finds_a_place_in_a_full_room() -> None:
    place = room(1, 10)
    enter(place, "a", size=10)
    assert enter(place, "b", size=10, again=True) == [True]
    assert (len(place), place.held_bytes, place.first()) == (2, 20, "b")


def test_since_when_the_next_one_waits() -> None:
    place = room()
    enter(place, "a", now=5.0)
    enter(place, "b", now=7.0)
    assert place.since == 5.0
    enter(place, "c", now=9.0, again=True)
    assert place.since == 9.0
    place.leave("c")
    place.leave("a")
    assert place.since == 7.0


def test_an_empty_one() -> None:
    place = room(0)
    assert (bool(place), place.first(), enter(place, "a")) == (False, None, [False])
