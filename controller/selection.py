"""Whether a Service selects the pods of the workload that its requests scale. Pure.

Pods of something else that are ready answer for the application, and no request waits: nobody would be told. Most are told
apart by the two selectors alone, before there is any pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from controller.finding import Finding
from controller.reachability import MAX_NAMED, PodFacts
from controller.selectors import Requirement, implies, rules_out, selects

__all__ = ["CLEAR", "SURVEYED", "Selection", "compare", "reachable"]

SURVEYED = frozenset({"SelectsNothing", "SelectsOtherPods", "SelectsMore"})
"""Reasons that are found here."""
CLEAR = Finding("True", "NoFailure", "no request has waited in vain for a backend")
"""The Service selects the workload's pods, and no others."""


class Selection(msgspec.Struct, frozen=True):
    """What was found of one application's Service and workload."""

    service: str
    labels: Mapping[str, str]
    """That the Service selects by."""
    workload: str
    """As "Deployment web"."""
    requirements: tuple[Requirement, ...]
    """Of the workload's selector."""
    selected: tuple[PodFacts, ...] | None = None
    """Pods that the Service selects; None where they were not read, as both selectors are the same."""
    pods: tuple[PodFacts, ...] | None = None
    """The workload's pods, where they were read."""


def compare(found: Selection) -> Finding | None:
    """What is told of a Service's selector; None when that is not known."""
    if found.selected is None:
        return CLEAR
    others = [pod for pod in found.selected if not selects(found.requirements, pod.labels)]
    fits = [found.labels.items() <= pod.labels.items() for pod in found.pods or ()]
    if rules_out(found.requirements, found.labels) or (fits and not any(fits)):
        return _wrong(found, others)
    if not (any(fits) or len(others) < len(found.selected) or implies(found.requirements, found.labels)):
        return None  # the workload has no pods now, and what labels they would have is not known
    if any(pod.ready for pod in others):
        why = f"Service {found.service} selects pods of something else, too, which get requests as well ({_by(found)})"
        return Finding("True", "SelectsMore", f"{why}: {_named(others)}")
    return CLEAR


def reachable(waited: Finding | None, surveyed: Finding | None, before: str) -> Finding | None:
    """What the condition says, from what came of requests and of the selectors. `before` is the reason that it has now; None
    leaves it as it is."""
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
