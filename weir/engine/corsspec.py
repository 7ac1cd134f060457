"""What a file of apps may say of requests from pages of other origins (CORS). Values only."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field, model_validator

from fleet.routing.cors import Cors, check_cors
from fleet.routing.faults import RouteError
from weir.engine.fields import Follows, HeaderName, Method, Model, Origin, Seconds, fault

__all__ = ["CorsSpec"]


class CorsSpec(Model):
    """Pages of these origins may use the app."""

    allow_origins: Annotated[list[Origin], Field(min_length=1), Follows(Cors, "allow_origins")]
    allow_methods: Annotated[list[Method], Follows(Cors, "allow_methods")] = []
    allow_headers: Annotated[list[HeaderName], Follows(Cors, "allow_headers")] = []
    expose_headers: Annotated[list[HeaderName], Follows(Cors, "expose_headers")] = []
    max_age: Annotated[Seconds | None, Follows(Cors, "max_age")] = None
    allow_credentials: Annotated[bool, Follows(Cors, "allow_credentials")] = False

    @model_validator(mode="after")
    def _together(self) -> CorsSpec:
        try:
            check_cors(self.cors(), "", partial(RouteError, ""))
        except RouteError as error:
            raise fault(error.field.removeprefix("."), error.reason, "allow_credentials") from error
        return self

    def cors(self) -> Cors:
        return Cors(
            tuple(self.allow_origins),
            tuple(self.allow_methods),
            tuple(self.allow_headers),
            tuple(self.expose_headers),
            self.max_age,
            allow_credentials=self.allow_credentials,
        )
