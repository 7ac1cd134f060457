"""Whose pods a Service selects: facts in, one sentence out; and how it is combined with the results of requests."""

from __future__ import annotations

import pytest

from controller.finding import Finding
from controller.reachability import PodFacts
from controller.selection import CLEAR, Selection, compare, reachable
from controller.selectors import parse_selector

WEB = PodFacts("web-1", ready=True, labels={"app": "web", "group": "g"})
OTHER = PodFacts("other-1", ready=True, labels={"app": "other", "group": "g"})
STARTING = PodFacts("other-2", labels={"app": "other", "group": "g"})


def selection(
    labels: dict[str, str], *selected: PodFacts, of: str = "app=web", pods: tuple[PodFacts, ...] | None = None
) -> Selection:
    return Selection("web", labels, "Deployment web", parse_selector(of), selected, pods)


@pytest.mark.parametrize(
    ("found", "status", "reason", "message"),
    [
        (Selection("web", {"app": "web"}, "Deployment web", parse_selector("app=web")), "True", "NoFailure", "in vain"),
        (
            selection({"app": "other"}, OTHER),
            "False",
            "SelectsOtherPods",
            "selects no pod of Deployment web (app=other); it selects pods of something else, and requests go to them: other-1",
        ),
        (selection({"app": "other"}, STARTING), "False", "SelectsOtherPods", "it selects pods of something else: other-2"),
        (selection({"app": "wep"}), "False", "SelectsNothing", "Service web selects no pod of Deployment web (app=wep)"),
        (selection({"app": "wep"}, pods=(WEB,)), "False", "SelectsNothing", "selects no pod of"),
        # The workload's selector does not show whether its pods have the label; the pods show it.
        (selection({"tier": "front"}, OTHER, pods=(WEB,)), "False", "SelectsOtherPods", "(tier=front); it selects pods"),
        (selection({"group": "g"}, WEB), "True", "NoFailure", "in vain"),
        # Only a limited number of pods is read.
        (selection({"group": "g"}, OTHER, pods=(WEB,)), "True", "SelectsMore", "other-1"),
        (
            selection({"group": "g"}, WEB, OTHER),
            "True",
            "SelectsMore",
            "Service web selects pods of something else, too, which get requests as well (group=g): other-1",
        ),
        (selection({"group": "g"}, OTHER, of="app=web,group=g"), "True", "SelectsMore", "other-1"),
        (selection({"group": "g"}, STARTING, of="app=web,group=g"), "True", "NoFailure", "in vain"),
        (selection({"group": "g"}, of="app=web,group=g"), "True", "NoFailure", "in vain"),
    ],
)
def test_whose_pods_are_selected(found: Selection, status: str, reason: str, message: str) -> None:
    told = compare(found)
    assert told is not None
    assert (told.status, told.reason) == (status, reason)
    assert message in told.message


def test_of_a_workload_without_pods_nothing_is_guessed() -> None:
    """Its pods may have the label when there are any."""
    assert compare(selection({"group": "g"}, OTHER)) is None
    assert compare(selection({"group": "g"})) is None


WAITED = Finding("Unknown", "PodsNotReady", "1 request waiting")
RECOVERED = Finding("True", "BackendsReady", "")
WRONG = Finding("False", "SelectsOtherPods", "")
MORE = Finding("True", "SelectsMore", "")


@pytest.mark.parametrize(
    ("waited", "surveyed", "before", "told"),
    [
        (WAITED, None, "NoFailure", WAITED),
        (WAITED, WRONG, "NoFailure", WAITED),
        (RECOVERED, WRONG, "NoFailure", WRONG),
        (None, WRONG, "", WRONG),
        (RECOVERED, CLEAR, "SelectsNothing", RECOVERED),
        (RECOVERED, MORE, "", MORE),
        (None, CLEAR, "SelectsOtherPods", CLEAR),
        (None, CLEAR, "SelectsMore", CLEAR),
        (None, CLEAR, "CrashLoop", None),
        (None, CLEAR, "", None),
        (None, None, "SelectsNothing", None),
    ],
)
def test_what_was_found_before_goes_when_it_is_mended(
    waited: Finding | None, surveyed: Finding | None, before: str, told: Finding | None
) -> None:
    assert reachable(waited, surveyed, before) == told
