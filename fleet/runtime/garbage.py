"""When a component runs full garbage collections: rarely, and while no request is waiting.

A full collection takes one or two microseconds per live object, and blocks everything else; and it finds next to nothing, because
the code creates hardly any reference cycles.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["collect_rarely", "collect_while_idle", "keep_what_is_here"]

IDLE_COLLECTIONS: Final = 10
"""Collections of the middle generation after which an idle moment is used for a full collection."""
THRESHOLDS: Final = (700, 10, 20 * IDLE_COLLECTIONS)
"""As the defaults, except for full collections."""


def collect_rarely() -> None:
    """Set the thresholds for the whole process; called by run_component."""
    gc.set_threshold(*THRESHOLDS)


def keep_what_is_here() -> None:
    """At the end of a component's start: freeze existing objects, so that later collections skip them."""
    gc.collect()
    gc.freeze()


def collect_while_idle() -> None:
    """Call it when no request is open: runs a full collection if one is due."""
    if gc.get_count()[2] >= IDLE_COLLECTIONS:
        gc.collect()
