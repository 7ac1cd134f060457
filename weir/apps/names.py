"""Completions of the names of apps: those of a running `weir up`, or of the namespace that the command line names.

Never an error, and never for long: a shell waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from inspect import signature
from threading import Thread
from typing import Any

from fleet.runtime.terminal import one_line
from weir.apps.failure import NotDoneError
from weir.apps.options import where_options
from weir.apps.where import Where, opened

__all__ = ["asked_in_time", "names"]

SECONDS = 4.0
"""Longer than a shell may be silent, names are of no use."""
MAX_NAMES = 1000


def names(typed: Mapping[str, Any], incomplete: str) -> Sequence[str]:
    """Names of apps that begin with what was typed, given the options that were."""
    return asked_in_time(typed, incomplete, _ask)


def asked_in_time(typed: Mapping[str, Any], incomplete: str, ask: Callable[[Where, list[str]], None]) -> Sequence[str]:
    """The names that `ask` puts into a list, as far as they are there in time, and begin with what was typed."""
    known = signature(where_options).parameters
    where = where_options(**{name: value for name, value in typed.items() if name in known})
    found: list[str] = []
    asking = Thread(target=_quietly, args=(ask, where, found), daemon=True)
    asking.start()
    asking.join(SECONDS)
    return [one_line(name) for name in dict.fromkeys(found) if name.startswith(incomplete)][:MAX_NAMES]


def _quietly(ask: Callable[[Where, list[str]], None], where: Where, found: list[str]) -> None:
    """Runs in a thread, which is left behind when the time is over, whatever it waits for: a connection, an answer or a plugin.

    A signal's exception would not do: it may be raised in a finaliser, and is lost there.
    """
    with suppress(NotDoneError):
        ask(where, found)


def _ask(where: Where, found: list[str]) -> None:
    with opened(where) as backend:
        found.extend(str(view.get("name", "")) for view in backend.apps())
