"""What both custom resources say of the applications that a workload needs. None of it is in the add-on."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from controller.schema.common import NOT_IN_ADDON, Name, follows
from fleet.routing import depends
from fleet.routing import route as routes
from fleet.routing.depends import MAX_DEPENDENCIES

__all__ = ["Dependency", "DependsOn"]

_ATOMIC: Final[Meta] = Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})
_TEXT_OR_OBJECT: Final[Meta] = Meta(extra_json_schema={"x-kubernetes-preserve-unknown-fields": True})
"""The only structural schema for it. So the API server takes whatever there is, and the status says what is wrong with it."""


class Dependency(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """An application that wakes together with this one."""

    name: Annotated[
        Name,
        follows(depends.Dependency, "app", words="Name of an HTTPScaledObject or InterceptorRoute in the same namespace."),
    ]
    optional: Annotated[bool, follows(depends.Dependency, "optional")] = False
    keep_awake: Annotated[bool, follows(depends.Dependency, "keep_awake")] = True


DependsOn = Annotated[
    Annotated[tuple[Annotated[Name | Dependency, _TEXT_OR_OBJECT], ...], Meta(max_length=MAX_DEPENDENCIES)] | None,
    follows(
        routes.Route,
        "depends_on",
        NOT_IN_ADDON,
        words="Applications of the same namespace that wake together with this one: names, or objects with name, optional and "
        "keepAwake.",
    ),
    _ATOMIC,
]
