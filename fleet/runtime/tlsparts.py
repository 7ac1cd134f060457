"""Which TLS settings belong together, and the message when some of them are missing; for components and commands.

Names and values only: reads no file. Only here it is decided whether certificate, key, authority and name are a complete set,
because an incomplete set must never be treated as none, which is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

__all__ = ["MAX_PEM_BYTES", "fault_of_set", "tls_groups"]

MAX_PEM_BYTES: Final = 16 << 20
"""Maximum bytes of a PEM file. A bundle of all public authorities takes 0.3 MB."""

_FIELD: Final = re.compile(r"((?:[a-z0-9_]+_)?tls)_(cert|key|ca|name)")


def tls_groups(fields: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
    """Fields by their common name ("tls", "member_tls") and by part: cert, key, ca, name."""
    groups: dict[str, dict[str, str]] = {}
    for field in fields:
        if match := _FIELD.fullmatch(field):
            groups.setdefault(match[1], {})[match[2]] = field
    return groups


def fault_of_set(values: Mapping[str, object], names: Mapping[str, str], *, anonymous: bool = False) -> str | None:
    """What is wrong with a set, in one line; None when it is complete, or when nothing is given.

    `values` and `names` are by part: the given value (None if not given), and its name for an operator. An empty value counts as
    given: it usually comes from a variable that was never set. With `anonymous`, as for a client of a server that requires no
    client certificate, certificate and key may be missing, but an authority is required.
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
