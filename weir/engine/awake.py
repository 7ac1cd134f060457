"""Which apps are awake for others that depend on them, from the queue sizes of interceptors.

For people: the scaler decides by itself, and counts an app for a while after its last request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleet.routing.dependencies import Dependencies
from weir.queue_reader import AppDemand

__all__ = ["awake_for"]


def awake_for(dependencies: Dependencies, demands: Mapping[str, AppDemand]) -> dict[str, str]:
    """By app: one with demand that needs it."""
    if not dependencies.needs:
        return {}
    wanted = [app for app in dependencies.needs if app in demands]
    found = _spread(dependencies, (app for app in wanted if demands[app].held), waking=True)
    busy = (app for app in wanted if demands[app].held or demands[app].in_flight or demands[app].busy)
    return {**_spread(dependencies, busy, waking=False), **found}


def _spread(dependencies: Dependencies, roots: Iterable[str], *, waking: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for root in roots:
        open_ = [root]
        while open_:
            for each in dependencies.needs.get(open_.pop(), ()):
                if (waking or each.keep_awake) and each.app not in found:
                    found[each.app] = root
                    open_.append(each.app)
    return found
