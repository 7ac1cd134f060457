"""`defaults` of the file: fields for all apps that do not set them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from pydantic import create_model

from fleet.routing.rules import TREATMENT
from weir.engine.document import Path
from weir.engine.fields import Model
from weir.engine.findings import Findings
from weir.engine.outsidespec import PROCESS_FIELDS
from weir.engine.spec import AppSpec

__all__ = ["OWN", "DefaultsSpec", "with_defaults"]

OWN = ("name", "hosts", "paths", "headers", "rules", *TREATMENT, "ports", "port", "outside", "previews", "depends_on")
"""Fields that cannot have a default, because they identify one app."""
_MERGED = ("env", "timeouts", "readiness")
"""Fields merged key by key; a field that is not listed here is taken whole."""


def _field(name: str) -> tuple[Any, Any]:
    """The type and settings of an app's field, made optional."""
    field = copy(AppSpec.model_fields[name])
    if field.is_required():
        field.default = None
    return field.annotation, field


if TYPE_CHECKING:

    class DefaultsSpec(Model):
        """The fields of an app that `defaults` may set."""

else:
    DefaultsSpec = create_model(
        "DefaultsSpec",
        __base__=Model,
        __doc__="Fields of apps, for all apps that do not say otherwise; env, timeouts and readiness name by name.",
        **{name: _field(name) for name in AppSpec.model_fields if name not in OWN},
    )


def with_defaults(apps: Any, defaults: Mapping[str, Any], findings: Findings) -> Any:
    """The apps as written, completed with the defaults."""
    doubted = [name for name in AppSpec.model_fields if findings.doubts(("defaults", name))]
    if not isinstance(apps, list) or not (defaults or doubted):
        return apps
    for index, app in enumerate(apps):
        for name in doubted:
            if isinstance(app, dict) and name not in app:
                findings.doubt(("apps", index, name))
    return [_one(app, defaults, ("apps", index), findings) if isinstance(app, dict) else app for index, app in enumerate(apps)]


def _one(app: Mapping[str, Any], defaults: Mapping[str, Any], path: Path, findings: Findings) -> dict[str, Any]:
    whole = dict(app)
    for name, value in defaults.items():
        own = app.get(name)
        if name in PROCESS_FIELDS and app.get("outside") is not None:
            continue
        if name == "max" and app.get("port") is not None:
            continue  # an app with a fixed port has one replica, whatever the defaults say
        if name in _MERGED and isinstance(own, dict) and isinstance(value, dict):
            whole[name] = {**value, **own}
        elif name not in app and not findings.doubts((*path, name)):
            whole[name] = value
    return whole
