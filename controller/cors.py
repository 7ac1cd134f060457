"""From what an object says of pages of other origins to the field of its route. Pure."""

from __future__ import annotations

from controller.limits import duration
from controller.schema.cors import Cors as CorsSpec
from fleet.routing.cors import Cors

__all__ = ["cors_of"]


def cors_of(given: CorsSpec | None) -> Cors | None:
    """Raises Problem."""
    if given is None:
        return None
    return Cors(
        given.allow_origins,
        given.allow_methods or (),
        given.allow_headers or (),
        given.expose_headers or (),
        duration("cors.maxAge", given.max_age),
        allow_credentials=given.allow_credentials,
    )
