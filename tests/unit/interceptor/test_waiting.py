"""The waiting room: first come, first served, bounded, and left from anywhere."""

from __future__ import annotations

from interceptor.waiting import WaitingRoom


def test_the_oldest_is_first_whoever_left() -> None:
    room: WaitingRoom[str] = WaitingRoom(10)
    for guest in "abcd":
        assert room.enter(guest)
    room.leave("a")
    room.leave("c")
    assert room.first() == "b"
    room.leave("b")
    room.leave("b")
    assert (room.first(), len(room)) == ("d", 1)


def test_one_that_comes_back_is_last() -> None:
    room: WaitingRoom[str] = WaitingRoom(10)
    for guest in "ab":
        room.enter(guest)
    room.leave("a")
    room.enter("a")
    assert list(room) == ["b", "a"]


def test_it_is_bounded_and_a_place_left_is_free() -> None:
    room: WaitingRoom[str] = WaitingRoom(2)
    assert [room.enter(guest) for guest in "abc"] == [True, True, False]
    room.leave("a")
    assert room.enter("c")
    assert list(room) == ["b", "c"]


def test_an_empty_one() -> None:
    room: WaitingRoom[str] = WaitingRoom(0)
    assert (bool(room), room.first(), room.enter("a")) == (False, None, False)
