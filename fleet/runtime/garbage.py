"""When the garbage collector of a component looks through everything: rarely, and not where somebody waits for it.

A whole collection takes a microsecond or two for each object that lives, with everything else standing still; and next to
nothing is found by one, as there are hardly any cycles here.
"""

from __future__ import annotations

import gc

__all__ = ["collect_in_a_calm", "collect_rarely", "keep_what_is_here"]

CALM_COLLECTIONS = 10
"""Collections of the middle generation after which a moment without work is used for a whole one."""
THRESHOLDS = (700, 10, 20 * CALM_COLLECTIONS)
"""As by default, but for whole collections."""


def collect_rarely() -> None:
    """A setting of the whole process: run_component makes it."""
    gc.set_threshold(*THRESHOLDS)


def keep_what_is_here() -> None:
    """At the end of a component's start: what is here now stays, and is not looked through again."""
    gc.collect()
    gc.freeze()


def collect_in_a_calm() -> None:
    """In a moment in which nobody waits: a whole collection, if one is due."""
    if gc.get_count()[2] >= CALM_COLLECTIONS:
        gc.collect()
