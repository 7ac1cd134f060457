"""The applications that an app needs: what `--depends-on` says, for a cluster and for the file of `weir up` alike, and in words.
Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from weir.apps.failure import UsageError

__all__ = ["FORM", "dependencies", "words_of"]

FORM: Final = "NAME[,optional][,keep-awake=false]"
MAX_NAMED: Final = 50
"""Applications in one line: what is shown may come from a server."""
_DETAILS: Final = {"optional": ("optional", True), "keep-awake=false": ("keep_awake", False)}


def dependencies(typed: Sequence[str]) -> list[Any]:
    """Names, or mappings where more is said than a name. Raises UsageError."""
    found = []
    for each in typed:
        name, *details = each.split(",")
        if not name or len({*details}) < len(details) or not {*details} <= _DETAILS.keys():
            raise UsageError(f"--depends-on {each}: should be {FORM}")
        found.append({"name": name, **dict(_DETAILS[detail] for detail in details)} if details else name)
    return found


def words_of(found: Any) -> str:
    """ "db, cache (optional)" of the field of an app, whatever is in it."""
    if not isinstance(found, list):
        return ""
    names = [*_names(found[:MAX_NAMED])]
    return ", ".join(names) + (f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else "")


def _names(found: Sequence[Any]) -> Iterator[str]:
    for each in found:
        if not isinstance(each, dict):
            yield str(each)
            continue
        details = ["optional"] if each.get("optional") is True else []
        details += ["only woken"] if each.get("keep_awake") is False else []
        yield f"{each.get('name')} ({', '.join(details)})" if details else str(each.get("name"))
