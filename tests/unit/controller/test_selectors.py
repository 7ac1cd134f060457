"""Selectors as the API server writes them: what they match, exclude, and imply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.selectors import Requirement, implies, parse_selector, rules_out, selects


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        ("", ()),
        ("app=web", (Requirement("app", frozenset({"web"})),)),
        ("app==web", (Requirement("app", frozenset({"web"})),)),
        ("app=", (Requirement("app", frozenset({""})),)),
        ("app!=web", (Requirement("app", frozenset({"web"}), negated=True),)),
        ("a.io/b in (x,y),c", (Requirement("a.io/b", frozenset({"x", "y"})), Requirement("c"))),
        ("!a,b notin (x, y)", (Requirement("a", negated=True), Requirement("b", frozenset({"x", "y"}), negated=True))),
    ],
)
def test_a_selector_is_read(text: str, requirements: tuple[Requirement, ...]) -> None:
    assert parse_selector(text) == requirements


@pytest.mark.parametrize(
    ("text", "labels", "selected", "ruled_out", "implied"),
    [
        ("app=web", {"app": "web"}, True, False, True),
        ("app=web", {"app": "other"}, False, True, False),
        ("app=web", {"tier": "front"}, False, False, False),
        ("app=web,tier=front", {"app": "web"}, False, False, True),
        ("app in (web,api)", {"app": "web"}, True, False, False),
        ("app in (web,api)", {"app": "other"}, False, True, False),
        ("app notin (web)", {"app": "web"}, False, True, False),
        ("app notin (web)", {"tier": "x"}, True, False, False),
        ("app!=web", {"app": "api"}, True, False, False),
        ("app", {"app": "anything"}, True, False, False),
        ("!canary", {"canary": "yes"}, False, True, False),
        ("!canary", {"app": "web"}, True, False, False),
    ],
)
def test_what_pods_can_be(text: str, labels: dict[str, str], *, selected: bool, ruled_out: bool, implied: bool) -> None:
    requirements = parse_selector(text)
    assert (selects(requirements, labels), rules_out(requirements, labels), implies(requirements, labels)) == (
        selected,
        ruled_out,
        implied,
    )


KEYS, VALUES = st.sampled_from("abc"), st.sampled_from("xyz")
REQUIREMENTS = st.lists(
    st.builds(Requirement, KEYS, st.none() | st.frozensets(VALUES, min_size=1), st.booleans()), max_size=4
).map(tuple)


@given(REQUIREMENTS, st.dictionaries(KEYS, VALUES), st.dictionaries(KEYS, VALUES))
def test_what_is_certain_holds_for_every_pod(
    requirements: tuple[Requirement, ...], labels: dict[str, str], pod: dict[str, str]
) -> None:
    if selects(requirements, pod):
        has_all = labels.items() <= pod.items()
        assert not (rules_out(requirements, labels) and has_all)
        assert has_all or not implies(requirements, labels)


@given(REQUIREMENTS)
def test_what_was_written_is_read_again(requirements: tuple[Requirement, ...]) -> None:
    written = ",".join(map(_written, requirements))
    assert parse_selector(written) == requirements


def _written(one: Requirement) -> str:
    if one.values is None:
        return f"!{one.key}" if one.negated else one.key
    if len(one.values) == 1:
        return f"{one.key}{'!=' if one.negated else '='}{next(iter(one.values))}"
    return f"{one.key} {'notin' if one.negated else 'in'} ({','.join(sorted(one.values))})"
