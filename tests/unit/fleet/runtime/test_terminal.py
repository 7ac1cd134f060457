"""Text from others: shown by a terminal, but never interpreted, and never mistaken for a line of ours."""

from __future__ import annotations

import json
import random
import sys

import pytest

from fleet.runtime.terminal import complain, escaped, one_line, say, shown
from tests.support.acting import ACTING, KEPT, SURROGATES
from tests.support.full import FULL

OSC = "\x1b]0;title\x07"


def test_the_database_has_what_this_is_about() -> None:
    ranges = [range(0x20), range(0x7F, 0xA0), range(0x2028, 0x202F), range(0x2066, 0x206A), range(0xD800, 0xE000)]
    assert {ord(char) for char in ACTING} == {number for each in ranges for number in each}


STEP = 1 if FULL else 16
"""One of this many characters is tested, unless at full size, and all that a terminal interprets."""


@pytest.mark.parametrize("colours", [False, True])
def test_of_all_characters_those_that_act_are_taken_out_and_no_others(colours: bool) -> None:
    for char in sorted({*map(chr, range(0, sys.maxunicode + 1, STEP)), *ACTING}):
        expected = char if char not in ACTING or char in KEPT else "\N{REPLACEMENT CHARACTER}" if char in SURROGATES else ""
        assert shown(f"a{char}b", colours=colours) == f"a{expected}b", hex(ord(char))


def test_one_line_is_one_for_every_reader_of_lines() -> None:
    for char in sorted(ACTING - SURROGATES):
        line = one_line(f"a{char}b")
        assert line in ("ab", "a b", "a\tb"), hex(ord(char))
        assert (line == "a b") == (len(f"a{char}b".splitlines()) == 2), hex(ord(char))
    assert one_line("a\r\nb\n") == "a b "


def test_the_smallest_input() -> None:
    assert shown(b"\xc2\x9b2J".decode()) == "2J"


@pytest.mark.parametrize(
    ("text", "plain", "coloured"),
    [
        ("\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m"),
        ("\x1b[1;38;2;255;255;255;48;2;0;0;0mx\x1b[m", "x", "\x1b[1;38;2;255;255;255;48;2;0;0;0mx\x1b[m"),
        ("\x1b[38;5;1mx\x1b[0m", "x", "\x1b[38;5;1mx\x1b[0m"),
        ("\x1b[11mx\x1b[0m", "x", "\x1b[11mx\x1b[0m\x1b[0;10m"),  # a font, which may remain after a reset of colours
        ("\x1b[2Jx", "[2Jx", "[2Jx"),
        (f"{OSC}x", "]0;titlex", "]0;titlex"),
        ("\x1b\x1b[31m[31mx", "[31mx", "\x1b[31m[31mx\x1b[0m"),
        ("\x1b[3\x001mx", "[31mx", "[31mx"),
        ("\x1b[31\x9bmx", "[31mx", "[31mx"),
        ("\x1b\x85[31mx", "[31mx", "[31mx"),
        ("\x1b[" + "1" * 65 + "mx", "[" + "1" * 65 + "mx", "[" + "1" * 65 + "mx"),
        ("\x1b", "", ""),
        ("\x1b[", "[", "["),
        ("\x1b[31", "[31", "[31"),
    ],
)
def test_colours_stay_where_they_may_and_nothing_else_does(text: str, plain: str, coloured: str) -> None:
    assert shown(text) == plain
    assert shown(text, colours=True) == coloured


@pytest.mark.parametrize("colour", ["\x1b[8m", "\x1b[31m", "\x1b[0;7m", "\x1b[38;5;0m"])
def test_a_colour_ends_with_its_line(colour: str) -> None:
    """\x1b[8m hides the following text: without a reset also the lines of others."""
    assert shown(f"a{colour}b", colours=True) == f"a{colour}b\x1b[0m"
    assert shown(f"a\x1b[0m{colour}", colours=True).endswith("\x1b[0m")


def test_what_is_shown_is_not_changed_by_being_shown_again() -> None:
    numbers = random.Random(7)
    alphabet = [*sorted(ACTING - SURROGATES), "[", "m", ";", "0", "3", "1", "x", "é", "\u05d0", "\U0001f600"] + [
        "\x1b",
        "\x1b[",
    ] * 20
    for _ in range(2_000):
        text = "".join(numbers.choices(alphabet, k=numbers.randrange(40)))
        for colours in (False, True):
            once = shown(text, colours=colours)
            assert shown(once, colours=colours) == once
            left = set(once) & ACTING - KEPT
            assert left <= ({"\x1b"} if colours else set())


def test_time_is_linear_in_what_was_written() -> None:
    """Counted, not timed: an unterminated colour sequence is read for 66 characters, however long the text is."""
    for text in ("\x1b[" * 50_000, "\x1b[" + "1;" * 50_000, "\x1b" * 100_000):
        assert "\x1b" not in shown(text, colours=True)


def test_json_is_text_that_acts_on_nothing_and_says_the_same() -> None:
    text = "".join(sorted(ACTING - SURROGATES)) + 'é\U0001f600"\\'
    written = escaped(json.dumps({"name": text}, ensure_ascii=False).encode()).decode()
    assert not set(written) & ACTING
    assert json.loads(written) == {"name": text}
    assert "é\U0001f600" in written


def test_lines_to_the_two_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    say("to \x9b2Jread\nforged")
    complain("to \u202emend")
    assert capsys.readouterr() == ("to 2Jread forged\n", "to mend\n")
