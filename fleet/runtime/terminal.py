"""What others have written, made fit for a terminal and for a log: it is shown, and never acted on.

Others are applications, clients, backends, peers of RPCs, and whoever names pods, hosts and files. Every line that leaves a
process for people goes through here, and nowhere else is it decided what a terminal would act on.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress

__all__ = ["complain", "escaped", "one_line", "say", "shown"]

_COLOUR = r"\[[0-9;]{0,64}m"  # behind an escape: ECMA-48 SGR; two colours of three bytes each, and room
_CONTROLS = r"\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f"  # C0 and C1 without tab, line feed and escape. C1 has a CSI of one character
_DIRECTIONS = r"\u2028-\u202e\u2066-\u2069"  # line separators; embeddings, overrides, isolates (UAX #9)
_COLOURS = re.compile(rf"\x1b{_COLOUR}")
_ACTING = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}\x1b]")
_ACTING_BUT_COLOURS = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}]|\x1b(?!{_COLOUR})")
_BREAKS = re.compile(r"\r\n|[\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]")  # where str.splitlines and others begin a new line
_HALVES = re.compile(r"[\ud800-\udfff]")  # of pairs, and bytes that were no text: nothing can be written for them
_ESCAPED = re.compile(rf"[\x7f-\x9f{_DIRECTIONS}]")
_RESET = "\x1b[0m"
_FONTS = frozenset(map(str, range(10, 21)))
"""SGR's fonts, which the reset of colours leaves in force on some terminals."""
_FIRST_FONT = "\x1b[0;10m"


def shown(text: str, *, colours: bool = False) -> str:
    """The text without what a terminal would act on. Tabs and line feeds stay, colours only if asked for.

    Colours end with the text: one that hides or blackens would go on into the lines of others.
    """
    if text.isprintable():
        return text
    if colours:
        return _ended(_HALVES.sub("\ufffd", _ACTING_BUT_COLOURS.sub("", text)))
    return _HALVES.sub("\ufffd", _ACTING.sub("", _COLOURS.sub("", text)))


def one_line(text: str) -> str:
    """The same in one line: a line feed would begin one that looks like ours."""
    return text if text.isprintable() else shown(_BREAKS.sub(" ", text))


def escaped(json: bytes) -> bytes:
    """JSON that says the same and acts on nothing. C0 is escaped in all JSON, and the rest can only stand inside of strings."""
    if json.isascii() and b"\x7f" not in json:
        return json  # nearly always, and megabytes of it are found to be so in no time
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.decode()).encode()


def say(line: str) -> None:
    """A line to standard output. Raises OSError, once, when that takes nothing."""
    try:
        sys.stdout.write(f"{one_line(line)}\n")
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()  # what is left in it cannot be written either, and would be told of at the very end
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  for the life of the process
        raise


def complain(line: str) -> None:
    """A line to standard error."""
    sys.stderr.write(f"{one_line(line)}\n")


def _ended(text: str) -> str:
    last = text.rfind("\x1b")
    if last < 0:
        return text
    if any(not _FONTS.isdisjoint(colour[2:-1].split(";")) for colour in _COLOURS.findall(text)):
        return text + _FIRST_FONT
    parameters = text[last + 2 : text.index("m", last)]
    return text if not parameters.strip("0;") else text + _RESET
