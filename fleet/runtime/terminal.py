"""Makes text from others safe for terminals and logs: control sequences are removed, so that a terminal does not act on them.

Others are applications, clients, backends, RPC peers, and the authors of names of pods, hosts and files. Every line that a
process writes for people goes through this module; only here it is decided which characters are unsafe.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import Final

__all__ = ["complain", "escaped", "one_line", "say", "shown"]

_COLOUR: Final = r"\[[0-9;]{0,64}m"  # after ESC: ECMA-48 SGR; long enough for two 24-bit colours
_CONTROLS: Final = (
    r"\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f"  # C0 and C1 without tab, line feed and escape; C1 has a one-character CSI
)
_DIRECTIONS: Final = r"\u2028-\u202e\u2066-\u2069"  # line separators; bidirectional embeddings, overrides, isolates (UAX #9)
_COLOURS: Final = re.compile(rf"\x1b{_COLOUR}")
_ACTING: Final = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}\x1b]")
_ACTING_BUT_COLOURS: Final = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}]|\x1b(?!{_COLOUR})")
_BREAKS: Final = re.compile(
    r"\r\n|[\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]"
)  # where str.splitlines and other programs begin a new line
_HALVES: Final = re.compile(r"[\ud800-\udfff]")  # lone surrogates, which include undecodable bytes: they cannot be encoded
_ESCAPED: Final = re.compile(rf"[\x7f-\x9f{_DIRECTIONS}]")
_RESET: Final = "\x1b[0m"
_FONTS: Final = frozenset(map(str, range(10, 21)))
"""SGR codes that select fonts, which the colour reset does not undo on some terminals."""
_FIRST_FONT: Final = "\x1b[0;10m"


def shown(text: str, *, colours: bool = False) -> str:
    """The text without characters that a terminal would act on. Tabs and line feeds are kept, colours only if asked for.

    Colours are reset at the end, because hidden or black text would affect the following lines.
    """
    if text.isprintable():
        return text
    if colours:
        return _ended(_HALVES.sub("\ufffd", _ACTING_BUT_COLOURS.sub("", text)))
    return _HALVES.sub("\ufffd", _ACTING.sub("", _COLOURS.sub("", text)))


def one_line(text: str) -> str:
    """The same on one line: after a line feed, text from others could look like a line of ours."""
    return text if text.isprintable() else shown(_BREAKS.sub(" ", text))


def escaped(json: bytes) -> bytes:
    """The same JSON without characters that a terminal acts on. All JSON escapes C0; other such characters can only be inside
    strings."""
    if json.isascii() and b"\x7f" not in json:
        return json  # the usual case, and fast even for megabytes
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.decode()).encode()


def say(line: str) -> None:
    """Write a line to standard output. Raises OSError, once, when it cannot be written."""
    try:
        sys.stdout.write(f"{one_line(line)}\n")
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()  # its buffer cannot be written either, and Python would report that again at exit
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  for the life of the process
        raise


def complain(line: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{one_line(line)}\n")


def _ended(text: str) -> str:
    last = text.rfind("\x1b")
    if last < 0:
        return text
    if any(not _FONTS.isdisjoint(colour[2:-1].split(";")) for colour in _COLOURS.findall(text)):
        return text + _FIRST_FONT
    parameters = text[last + 2 : text.index("m", last)]
    return text if not parameters.strip("0;") else text + _RESET
