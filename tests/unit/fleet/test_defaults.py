"""The defaults that are declared once: that their two forms agree, and that no port is given twice."""

from __future__ import annotations

from fleet import defaults
from fleet.routing.duration import seconds


def test_texts_say_what_the_numbers_do() -> None:
    assert seconds(defaults.RATE_WINDOW_TEXT) == defaults.RATE_WINDOW
    assert seconds(defaults.RATE_GRANULARITY_TEXT) == defaults.RATE_GRANULARITY


def test_all_planes_have_room_on_one_machine() -> None:
    ports = [value for name, value in vars(defaults).items() if name.endswith("_PORT")]
    assert len(set(ports)) == len(ports) == 6
