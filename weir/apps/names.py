"""Completions of the names of apps: those of a running `weir up`, or of the namespace that the command line names.

Never an error, and never for long: a shell waits for it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from inspect import signature
from typing import Any

from fleet.runtime.terminal import one_line
from weir.apps.failure import NotDoneError
from weir.apps.options import where_options
from weir.apps.where import opened

__all__ = ["names"]

SECONDS = 4.0
"""Longer than a shell may be silent, names are of no use."""
MAX_NAMES = 1000


def names(typed: Mapping[str, Any], incomplete: str) -> Sequence[str]:
    """Names of apps that begin with what was typed, given the options that were."""
    known = signature(where_options).parameters
    where = where_options(**{name: value for name, value in typed.items() if name in known})
    with suppress(NotDoneError), _in_time(), opened(where) as backend:
        found = [str(view.get("name", "")) for view in backend.apps()]
        return [one_line(name) for name in dict.fromkeys(found) if name.startswith(incomplete)][:MAX_NAMES]
    return []


@contextmanager
def _in_time() -> Iterator[None]:
    """Raises NotDoneError when the time is over, whatever is waited for: a connection, an answer, or a plugin for credentials."""

    def over(*_: object) -> None:
        raise NotDoneError("it takes too long")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
