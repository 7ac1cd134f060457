"""From what an object says of its previews to the field of its route. Pure."""

from __future__ import annotations

from controller.schema.previews import Previews as PreviewsSpec
from fleet.routing.previews import Previews

__all__ = ["previews_of"]


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
