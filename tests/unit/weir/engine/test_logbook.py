"""The stored output of apps."""

from __future__ import annotations

from collections.abc import Sequence

from weir.engine.logbook import MAX_BEHIND, MAX_CHARACTERS, LogBook


def test_lines_are_kept_by_app_and_handed_on() -> None:
    told: list[tuple[str, Sequence[str]]] = []
    book = LogBook(lambda speaker, lines: told.append((speaker, lines)))
    book.tell("a/1", ["one", "two"])
    book.tell("b/1", ["other"])
    book.tell("a/2", ["three"])
    assert told == [("a/1", ["one", "two"]), ("b/1", ["other"]), ("a/2", ["three"])]
    assert book.last("a", 2) == [("a/1", "two"), ("a/2", "three")]
    assert list(book.last("a", 0)) == []
    assert list(book.last("nobody", 5)) == []


def test_what_is_kept_is_bounded() -> None:
    book = LogBook(lambda _, __: None)
    for number in range(100):
        book.tell("a/1", [f"{number} " + "x" * (MAX_CHARACTERS // 50)])
    kept = book.last("a", 1000)
    assert 40 < len(kept) <= 50
    assert kept[-1][1].startswith("99 ")


def test_a_subscriber_gets_new_lines_and_a_note_of_missing_ones() -> None:
    book = LogBook(lambda _, __: None)
    with book.listening("a") as queue:
        book.tell("b/1", ["no"])
        book.tell("a/1", ["x"] * (MAX_BEHIND + 5))
        lines = [queue.get_nowait() for _ in range(queue.qsize())]
    assert lines[0] == ("a/1", "x")
    assert len(lines) == MAX_BEHIND
    assert lines[-1] == ("weir", "(lines are missing here: they came faster than they were read)")
    book.tell("a/1", ["later"])
    assert queue.empty()
