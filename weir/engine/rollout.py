"""Which replicas to start and which to retire, so that an app has as many as it should, of what it should be now. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Rollout", "Standing", "plan", "plan_alone"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is to know of one replica that is not being retired."""

    number: int
    ready: bool
    current: bool
    """Whether it runs what the file says now."""
    in_flight: int = 0
    """Exchanges that are not over, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Numbers of the replicas to retire, and how many to start."""

    start: int
    retire: tuple[int, ...]


def plan_alone(standings: Sequence[Standing], desired: int, *, ending: bool) -> Rollout:
    """Of an app that has one place only: what is there goes first, and a new one starts when nothing is left, or `ending`."""
    current = [standing for standing in standings if standing.current][: min(desired, 1)]
    retire = tuple(sorted(standing.number for standing in standings if standing not in current))
    return Rollout(start=int(desired > 0 and not standings and not ending), retire=retire)


def plan(standings: Sequence[Standing], desired: int) -> Rollout:
    """New ones are started beside the old ones, and an old one goes when a new one can stand in for it."""
    current = sorted((s for s in standings if s.current), key=_worth)
    outdated = sorted((s for s in standings if not s.current), key=_worth)
    surplus = current[desired:]
    in_place = sum(standing.ready for standing in current[:desired])
    kept = [s for s in outdated[: desired - in_place] if s.ready] if desired > in_place else []
    retire = [*surplus, *(s for s in outdated if s not in kept)]
    return Rollout(start=max(0, desired - len(current)), retire=tuple(sorted(s.number for s in retire)))


def _worth(standing: Standing) -> tuple[bool, int, int]:
    """Those that serve first, then those that have the most to finish, then the oldest."""
    return (not standing.ready, -standing.in_flight, standing.number)
