"""Whether a Service selects the pods of the workload that its requests scale. Pure.

If it selects ready pods of something else, requests succeed and none waits, so nothing else would report the mistake. Most such
mistakes can be found by comparing the two selectors, before any pod exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from controller.finding import MAX_NAMED, Finding
from controller.reachability import PodFacts
from controller.selectors import Requirement, implies, rules_out, selects

__all__ = ["CLEAR", "SURVEYED", "Selection", "compare", "reachable"]

SURVEYED = frozenset({"SelectsNothing", "SelectsOtherPods", "SelectsMore"})
"""Reasons that this module finds."""
CLEAR = Finding("True", "NoFailure", "no request has waited in vain for a backend")
"""The Service selects exactly the workload's pods."""


class Selection(msgspec.Struct, frozen=True):
    """What was read of one application's Service and workload."""

    service: str
    labels: Mapping[str, str]
    """The labels in the Service's selector."""
    workload: str
    """Such as "Deployment web"."""
    requirements: tuple[Requirement, ...]
    """Of the workload's selector."""
    selected: tuple[PodFacts, ...] | None = None
    """Pods that the Service selects; None when they were not read because both selectors are equal."""
    pods: tuple[PodFacts, ...] | None = None
    """The workload's pods, if they were read."""


def compare(found: Selection) -> Finding | None:
    """The finding about a Service's selector; None when it is unknown."""
    if found.selected is None:
        return CLEAR
    others = [pod for pod in found.selected if not selects(found.requirements, pod.labels)]
    fits = [found.labels.items() <= pod.labels.items() for pod in found.pods or ()]
    if rules_out(found.requirements, found.labels) or (fits and not any(fits)):
        return _wrong(found, others)
    if not (any(fits) or len(others) < len(found.selected) or implies(found.requirements, found.labels)):
        return None  # the workload has no pods now, and the labels they would have are unknown
    if any(pod.ready for pod in others):
        why = f"Service {found.service} selects pods of something else, too, which get requests as well ({_by(found)})"
        return Finding("True", "SelectsMore", f"{why}: {_named(others)}")
    return CLEAR


def reachable(waited: Finding | None, surveyed: Finding | None, before: str) -> Finding | None:
    """The condition, from the findings about requests and about selectors. `before` is its current reason; None leaves the
    condition unchanged."""
    if waited is not None and waited.status != "True":
        return waited
    if surveyed is not None and surveyed != CLEAR:
        return surveyed
    return waited if waited is not None or before not in SURVEYED else surveyed


def _wrong(found: Selection, others: Sequence[PodFacts]) -> Finding:
    why = f"Service {found.service} selects no pod of {found.workload} ({_by(found)})"
    if not others:
        return Finding("False", "SelectsNothing", why)
    to_them = ", and requests go to them" if any(pod.ready for pod in others) else ""
    return Finding("False", "SelectsOtherPods", f"{why}; it selects pods of something else{to_them}: {_named(others)}")


def _named(pods: Sequence[PodFacts]) -> str:
    more = len(pods) - MAX_NAMED
    return ", ".join(sorted(pod.name for pod in pods)[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _by(found: Selection) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(found.labels.items()))
