"""What a route says of the applications that its own needs. Values, and what they may be. Pure.

Which of them exist, and whether they go in a circle, only shows beside the other routes: `fleet.routing.dependencies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from fleet.routing.declare import Field
from fleet.routing.faults import Fail
from fleet.routing.kinds import NAME

__all__ = ["MAX_DEPENDENCIES", "Dependency", "check_dependencies"]

MAX_DEPENDENCIES: Final = 1000
"""Dependencies of one application. Each is looked at whenever it wakes, and all of them are in one entry of the table."""


class Dependency(msgspec.Struct, frozen=True, omit_defaults=True):
    """An application that wakes together with this one."""

    app: Annotated[str, Field('The application, "namespace/name", in the namespace of this one.', NAME)]
    optional: Annotated[bool, Field("Whether it may be missing. Without this, a missing one is reported.")] = False
    keep_awake: Annotated[
        bool,
        Field(
            "Whether it counts as active for as long as this application does. Without this, it does so while requests of this "
            "application wait for a backend; after that, its own demand counts."
        ),
    ] = True


def check_dependencies(app: str, dependencies: Sequence[Dependency], fail: Fail) -> None:
    """No tenant can wake the applications of another."""
    namespace = app.partition("/")[0]
    seen: set[str] = set()
    for position, each in enumerate(dependencies):
        at = f"depends_on[{position}]"
        if each.app == app:
            raise fail(at, "is the application itself")
        if each.app.partition("/")[0] != namespace:
            raise fail(at, f"{each.app} is in another namespace")
        if each.app in seen:
            raise fail(at, f"{each.app} is there twice")
        seen.add(each.app)
