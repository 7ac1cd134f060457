"""What somebody has asked for by hand: to keep an application awake until a time, or to let it sleep without its cooldown. Pure;
the time is passed in.

Both are annotations of an HTTPScaledObject, and become fields of its ScaledObject until their time is over. So KEDA does what is
asked, nobody else writes replicas, and nothing needs to be taken back by whoever asked.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from controller.resources import ObjectMeta

__all__ = ["AWAKE_UNTIL", "BY_ITSELF", "NO_COOLDOWN_UNTIL", "ByHand", "by_hand", "moment", "stamp"]

AWAKE_UNTIL = "weir.dev/awake-until"
"""Annotation: at least one replica until this time."""
NO_COOLDOWN_UNTIL = "weir.dev/no-cooldown-until"
"""Annotation: an application without demand sleeps at once until this time."""


class ByHand(msgspec.Struct, frozen=True):
    """What is asked for now."""

    awake: bool = False
    hurried: bool = False
    """To sleep without the cooldown."""
    left: float | None = None
    """Seconds until some of it changes; None when nothing is asked for."""
    unusable: tuple[str, ...] = ()
    """Annotations that say no time."""


BY_ITSELF = ByHand()
"""Nothing was asked for."""


def by_hand(meta: ObjectMeta, now: float) -> ByHand:
    """`now` is in seconds since the epoch."""
    annotations = meta.annotations or {}
    given = {name: annotations[name] for name in (AWAKE_UNTIL, NO_COOLDOWN_UNTIL) if name in annotations}
    if not given:
        return BY_ITSELF
    times = {name: moment(text) for name, text in given.items()}
    left = {name: when - now for name, when in times.items() if when is not None and when > now}
    unusable = tuple(name for name, when in times.items() if when is None)
    return ByHand(AWAKE_UNTIL in left, NO_COOLDOWN_UNTIL in left, min(left.values(), default=None), unusable)


def stamp(when: float) -> str:
    """A time as the annotations have it, in whole seconds."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> float | None:
    """Seconds since the epoch of a time (RFC 3339); None if the text is none. A time without a zone could mean any of 25."""
    if len(text) > 40:
        return None
    try:
        when = datetime.fromisoformat(text.strip())
        return when.timestamp() if when.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
