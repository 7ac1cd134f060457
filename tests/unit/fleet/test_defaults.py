"""The defaults that are declared once: that no port is given twice."""

from __future__ import annotations

from fleet import defaults


def test_all_planes_have_room_on_one_machine() -> None:
    ports = [value for name, value in vars(defaults).items() if name.endswith("_PORT") and "LEASED" not in name]
    assert len(set(ports)) == len(ports) == 9
