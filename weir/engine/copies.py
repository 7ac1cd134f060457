"""The apps that previews of the file are: their app, with what is different about them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.routing.host import normal_host
from fleet.routing.previews import DOT
from fleet.routing.rules import TREATMENT
from weir.engine.document import Path
from weir.engine.previewspec import CopySpec, PreviewsSpec, key_of_copy
from weir.engine.spec import AppSpec

__all__ = ["copies_of", "named_copies"]

_DEFAULT = AppSpec.model_fields
_AS_NEW = ("rules", *TREATMENT, "ports", "port", "min", "schedule", "previews")
"""Fields of the app that its copies have not. The routing table gives them its rules."""


def copies_of(app: AppSpec) -> Iterator[tuple[AppSpec, Path]]:
    """Each preview of an app, and where it is in the app. Its variables are only those that are its own."""
    if app.previews is None:
        return
    for name, copy in app.previews.copies.items():
        yield _copy(app, app.previews, name, copy), ("previews", "copies", name)


def named_copies(app: AppSpec) -> Iterator[tuple[str, str]]:
    """The key of each preview of an app, and what it is called in messages."""
    for name in () if app.previews is None else app.previews.copies:
        yield key_of_copy(app.key, name), f"preview {name} of {app.name}"


def _copy(app: AppSpec, previews: PreviewsSpec, name: str, copy: CopySpec) -> AppSpec:
    said = {field: getattr(copy, field) for field in ("command", "cwd", "before") if getattr(copy, field) is not None}
    return app.model_copy(
        update={
            **{field: _DEFAULT[field].default for field in _AS_NEW},
            **said,
            "name": key_of_copy(app.name, name),
            "hosts": list(_hosts(app, previews, name)),
            "env": copy.env,
            "env_file": copy.env_file,
        }
    )


def _hosts(app: AppSpec, previews: PreviewsSpec, name: str) -> Iterator[str]:
    """Those by which it can be reached, for people."""
    bases = (normal_host(host.encode()).decode() for rule in app.every_rule for host in rule.hosts)
    for base in dict.fromkeys(base for base in bases if not base.startswith("*")):
        for pattern in previews.hosts:
            yield f"{name}.{base}" if pattern == DOT else f"{name}--{base}"
