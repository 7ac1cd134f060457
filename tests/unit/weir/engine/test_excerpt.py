"""The choice of lines that a terminal shows if there are too many."""

from __future__ import annotations

from weir.engine.excerpt import LAST, LEAST, ROW, ROWS, Excerpt


def lines(count: int, *, start: int = 0) -> list[str]:
    return [str(number) for number in range(start, start + count)]


def test_what_a_terminal_can_show_is_shown_whole_and_at_once() -> None:
    excerpt = Excerpt()
    assert excerpt.take("a", lines(ROWS)) == lines(ROWS)
    assert excerpt.end() == []


def test_of_more_the_first_are_shown_at_once_and_the_last_in_the_end() -> None:
    excerpt = Excerpt()
    assert excerpt.take("a", lines(ROWS + 100)) == lines(ROWS)
    assert excerpt.take("a", ["more"]) == []
    ends = [f"… {101 - LAST:,} lines left out", *lines(LAST - 1, start=ROWS + 101 - LAST), "more"]
    assert excerpt.end() == [("a", ends)]


def test_the_count_is_of_the_period() -> None:
    excerpt = Excerpt()
    for _ in range(3):
        assert len(excerpt.take("a", lines(ROWS + 100_000 + LAST))) == ROWS
        ((_, (note, *last)),) = excerpt.end()
        assert note == "… 100,000 lines left out"
        assert len(last) == LAST
    assert excerpt.end() == []


def test_few_more_are_shown_whole() -> None:
    excerpt = Excerpt()
    excerpt.take("a", lines(ROWS + LAST))
    assert excerpt.end() == [("a", lines(LAST, start=ROWS))]
    excerpt.take("a", lines(ROWS + LAST + 1))
    assert excerpt.end() == [("a", ["… 1 line left out", *lines(LAST, start=ROWS + 1)])]


def test_a_long_line_takes_many_rows() -> None:
    excerpt = Excerpt()
    long = "x" * (9 * ROW)
    assert len(excerpt.take("a", [long] * ROWS)) == ROWS / 10


def test_a_replica_with_little_output_is_shown_beside_others_with_much() -> None:
    excerpt = Excerpt()
    for number in range(100):
        assert len(excerpt.take(f"loud {number}", lines(ROWS))) >= LEAST
    assert excerpt.take("quiet", lines(LEAST)) == lines(LEAST)
    assert "quiet" not in dict(excerpt.end())


def test_all_together_are_bounded() -> None:
    excerpt = Excerpt()
    shown = sum(len(excerpt.take(str(number), lines(ROWS))) for number in range(20))
    assert shown < 4 * ROWS  # 1 + 1/2 + ... + 1/20 of them: later apps share with more others
