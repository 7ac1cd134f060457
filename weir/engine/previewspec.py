"""What a file of apps may say of previews of an app: copies of it with another command or environment. Values only."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import structs
from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from fleet.defaults import CONTEXT_HEADER
from fleet.routing.previews import (
    BAGGAGE_KEY,
    COPY_NAME,
    DOT,
    HEADER_OF_CONTEXT,
    HOST_PATTERNS,
    MAX_COPIES,
    Copy,
    Previews,
)
from fleet.routing.route import Target
from weir.engine.beforespec import BeforeField
from weir.engine.fields import Command, Cookie, Files, Fits, Follows, Model, Text, Variable, fault, without_port

__all__ = ["CopySpec", "PreviewsSpec", "key_of_copy"]

CopyName = Annotated[
    Text,
    Fits(COPY_NAME.check),
    WithJsonSchema({"type": "string", "pattern": COPY_NAME.pattern, "maxLength": COPY_NAME.max_length}),
]
Pattern = Annotated[Literal["{name}.{baseHost}", "{name}--{baseHost}"], Field()]


def key_of_copy(app: str, name: str) -> str:
    """The name, or the key, of the app that a copy is."""
    return f"{app}--{name}"


class CopySpec(Model):
    """What is different about one preview. All else is as the app has it, but that it sleeps at zero and has a free port."""

    command: Command | None = None
    env: Annotated[dict[Variable, Text], AfterValidator(without_port)] = {}
    """Beside the variables of the app."""
    env_file: Files = ()
    cwd: str | None = None
    before: BeforeField = None
    """In place of that of the app, which otherwise runs for this preview as well."""


class PreviewsSpec(Model):
    """The previews of an app, and how requests choose among them."""

    header: Annotated[Annotated[Text, Fits(HEADER_OF_CONTEXT.check)], Follows(Previews, "header")] = CONTEXT_HEADER
    baggage: Annotated[Annotated[Text, Fits(BAGGAGE_KEY.check)] | None, Follows(Previews, "baggage")] = None
    cookie: Annotated[Cookie | None, Follows(Previews, "cookie")] = None
    set_cookie: Annotated[bool, Follows(Previews, "set_cookie")] = False
    hosts: Annotated[list[Pattern], Field(max_length=len(HOST_PATTERNS)), Follows(Previews, "hosts")] = [DOT]
    unknown: Annotated[Literal["base", "refuse"], Follows(Previews, "unknown")] = "base"
    copies: Annotated[
        dict[CopyName, CopySpec],
        Field(max_length=MAX_COPIES),
        Follows(Previews, "copies", "The previews by name, each with what is different about it: command, env, env_file, cwd."),
    ] = {}

    @model_validator(mode="after")
    def _together(self) -> PreviewsSpec:
        if self.set_cookie and self.cookie is None:
            raise fault("set_cookie", "there is no name of a cookie", "cookie")
        return self

    def previews(self, app: str, target: Target) -> Previews:
        """`target` is that of the app: its copies are spoken to in the same way."""
        copies = (
            Copy(name, key_of_copy(app, name), structs.replace(target, service=key_of_copy(app, name))) for name in self.copies
        )
        return Previews(
            self.header,
            self.baggage,
            self.cookie,
            set_cookie=self.set_cookie,
            hosts=tuple(self.hosts),
            unknown=self.unknown,
            copies=tuple(copies),
        )
