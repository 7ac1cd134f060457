"""Which settings of TLS belong together, and what is said when some of them are missing: for components and commands alike.

Names and values only: no file is read here. And nowhere else is it decided whether a certificate, its key, an authority and a
name are a whole set, for half a set must never be taken for none, which is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["fault_of_set", "tls_groups"]

_FIELD = re.compile(r"((?:[a-z0-9_]+_)?tls)_(cert|key|ca|name)")


def tls_groups(fields: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
    """Fields by the name that they share ("tls", "member_tls") and by the part that each is of the set: cert, key, ca, name."""
    groups: dict[str, dict[str, str]] = {}
    for field in fields:
        if match := _FIELD.fullmatch(field):
            groups.setdefault(match[1], {})[match[2]] = field
    return groups


def fault_of_set(values: Mapping[str, object], names: Mapping[str, str], *, anonymous: bool = False) -> str | None:
    """What is wrong with a set, in one line; None if it is whole, or if there is nothing of it at all.

    `values` and `names` are by part: what was given (None if it was not), and what an operator calls it. A value that is empty
    was given: it is what is left of a variable that nobody set. Who may be `anonymous`, as a client of a server that asks for no
    certificate, needs none of its own; then it needs an authority.
    """
    given = [part for part in names if values.get(part) is not None]
    empty = [names[part] for part in given if values[part] == ""]
    if empty:
        return f"{_listed(empty)} {_are(empty)} given, and empty"
    missing = [names[part] for part in _needed(given, anonymous=anonymous) if part in names and part not in given]
    if missing:
        there = [names[part] for part in given]
        need = f"need{'s' if len(there) == 1 else ''} {'it' if len(missing) == 1 else 'them'}"
        return f"{_listed(missing)} {_are(missing)} missing: {_listed(there)} {need}"
    return None


def _needed(given: Sequence[str], *, anonymous: bool) -> Sequence[str]:
    if not given:
        return ()
    return ("ca",) if anonymous and "cert" not in given and "key" not in given else ("cert", "key")


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
