"""Which replicas to start and which to retire, so that the desired number runs with the current configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Rollout", "Standing", "plan", "plan_alone"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of one replica that is not being retired."""

    number: int
    ready: bool
    current: bool
    """Whether it runs the current configuration."""
    in_flight: int = 0
    """Open exchanges, as far as known, and work after an answer."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Numbers of the replicas to retire, and how many to start."""

    start: int
    retire: tuple[int, ...]


def plan_alone(standings: Sequence[Standing], desired: int, *, ending: bool) -> Rollout:
    """For an app with one place only, such as a fixed port: the old replica is retired first; a new one starts when none is
    left or `ending`."""
    current = [standing for standing in standings if standing.current][: min(desired, 1)]
    retire = tuple(sorted(standing.number for standing in standings if standing not in current))
    return Rollout(start=int(desired > 0 and not standings and not ending), retire=retire)


def plan(standings: Sequence[Standing], desired: int) -> Rollout:
    """New replicas are started beside the old ones; an old one is retired when a ready new one replaces it."""
    current = sorted((s for s in standings if s.current), key=_worth)
    outdated = sorted((s for s in standings if not s.current), key=_worth)
    surplus = current[desired:]
    in_place = sum(standing.ready for standing in current[:desired])
    kept = [s for s in outdated[: desired - in_place] if s.ready] if desired > in_place else []
    retire = [*surplus, *(s for s in outdated if s not in kept)]
    return Rollout(start=max(0, desired - len(current)), retire=tuple(sorted(s.number for s in retire)))


def _worth(standing: Standing) -> tuple[bool, int, int]:
    """Sort key, most worth keeping first: ready replicas, then those with the most open exchanges, then the oldest."""
    return (not standing.ready, -standing.in_flight, standing.number)
