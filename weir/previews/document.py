"""What the flags of `weir preview create` say: the document of the Admin API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fleet.routing.faults import RouteError
from fleet.routing.previews import COPY_NAME
from weir.apps.failure import INVALID, NotDoneError, UsageError
from weir.apps.given import merge, pairs

__all__ = ["preview_document"]


def preview_document(
    *,
    file: Path | None = None,
    env: Sequence[str] = (),
    request: Sequence[str] = (),
    limit: Sequence[str] = (),
    min: int | None = None,  # noqa: A002  as the flag is called
    max: int | None = None,  # noqa: A002
    pinned: bool = False,
    dependencies: bool = False,
    **texts: str | None,
) -> dict[str, Any]:
    """The fields of the file, and on top those of the flags. Raises NotDoneError."""
    document: dict[str, Any] = {}
    if file is not None:
        from weir.apps.run import read_document  # noqa: PLC0415  every command would begin with its YAML

        document = read_document(file, None)
    flags = {"pinned": pinned, "dependencies": dependencies}
    given: dict[str, Any] = {name: value for name, value in texts.items() if value is not None}
    given |= {name: True for name, typed in flags.items() if typed}
    inner = {
        "environment": dict(pairs(env, "--env")),
        "replicas": {name: value for name, value in (("min", min), ("max", max)) if value is not None},
        "resources": {
            name: dict(pairs(typed, flag))
            for name, typed, flag in (("requests", request, "--request"), ("limits", limit, "--limit"))
            if typed
        },
    }
    merge(document, given | {name: values for name, values in inner.items() if values})
    for field in ("base", "name"):
        if not isinstance(document.get(field), str) or not document[field]:
            raise UsageError(f"--{field} is missing")
    try:
        COPY_NAME.check(document["name"], "--name", partial(RouteError, ""))
    except RouteError as error:
        raise NotDoneError(f"--name: {error.reason}", code=INVALID) from error
    return document
