"""What both custom resources say of requests from pages of other origins (CORS)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from controller.schema.common import Duration, Name, follows
from fleet.routing.cors import MAX_VALUES, ORIGIN
from fleet.routing.cors import Cors as Declared

__all__ = ["Cors"]

_SET: Final = Meta(extra_json_schema={"x-kubernetes-list-type": "set"})
Origin = Annotated[str, Meta(pattern=ORIGIN.pattern, max_length=ORIGIN.max_length)]
Names = Annotated[tuple[Name, ...], Meta(max_length=MAX_VALUES)]


class Cors(msgspec.Struct, frozen=True, rename="camel"):
    """Pages of these origins may use the application."""

    allow_origins: Annotated[
        Annotated[tuple[Origin, ...], Meta(min_length=1, max_length=MAX_VALUES)], follows(Declared, "allow_origins"), _SET
    ]
    allow_methods: Annotated[Names | None, follows(Declared, "allow_methods"), _SET] = None
    allow_headers: Annotated[Names | None, follows(Declared, "allow_headers"), _SET] = None
    expose_headers: Annotated[Names | None, follows(Declared, "expose_headers"), _SET] = None
    max_age: Annotated[Duration | None, follows(Declared, "max_age")] = None
    allow_credentials: Annotated[bool, follows(Declared, "allow_credentials")] = False
