"""From what an object says of its previews to the field of its route. Pure."""

from __future__ import annotations

from functools import partial

from controller.problem import Problem
from controller.schema.previews import Previews as PreviewsSpec
from fleet.routing.faults import RouteError
from fleet.routing.previews import COPY_NAME, Previews

__all__ = ["check_preview_name", "previews_of"]


def previews_of(given: PreviewsSpec | None) -> Previews | None:
    """Without the copies, which Preview objects declare."""
    if given is None:
        return None
    return Previews(
        given.header,
        given.baggage,
        given.cookie,
        set_cookie=given.set_cookie,
        hosts=tuple(given.hosts),
        unknown=given.unknown,
    )


def check_preview_name(name: str, field: str = "spec.previewOf.name") -> None:
    """Raises Problem for what can be no name of a preview: schemas do not say all of it."""
    try:
        COPY_NAME.check(name, field, partial(RouteError, ""))
    except RouteError as error:
        raise Problem(error.field, error.reason) from error
