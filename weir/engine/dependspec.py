"""What a file of apps may say of the apps that an app needs. Values only."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from fleet.routing.depends import MAX_DEPENDENCIES, Dependency
from fleet.routing.route import Route
from weir.engine.fields import Follows, Model, Text
from weir.engine.messages import FIELDS

__all__ = ["DependencySpec", "DependsOn"]


class DependencySpec(Model):
    """An app that wakes together with this one."""

    name: Annotated[Text, Field(min_length=1), Follows(Dependency, "app", "Name of an app of the same namespace.")]
    optional: Annotated[bool, Follows(Dependency, "optional")] = False
    keep_awake: Annotated[bool, Follows(Dependency, "keep_awake")] = True

    def dependency(self, namespace: str) -> Dependency:
        """Of an app of this namespace."""
        app = self.name if "/" in self.name else f"{namespace}/{self.name}"
        return Dependency(app, self.optional, self.keep_awake)


def _short(value: object) -> object:
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict):
        raise ValueError(f"should be the name of an app, or {FIELDS}")
    return value


DependsOn = Annotated[
    list[Annotated[DependencySpec, BeforeValidator(_short)]],
    Field(max_length=MAX_DEPENDENCIES),
    Follows(
        Route,
        "depends_on",
        "Apps of the same namespace that wake together with this one: names, or fields with name, optional and keep_awake.",
    ),
]
