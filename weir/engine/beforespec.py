"""What a file of apps may say of the command that runs before an app starts. Values only."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from weir.engine.fields import Command, Model, PositiveSeconds
from weir.engine.messages import FIELDS

__all__ = ["BeforeField", "BeforeSpec"]


class BeforeSpec(Model):
    """A command that runs once, to its end, before the first replica starts: such as a migration."""

    command: Command
    timeout: PositiveSeconds = 600.0
    """After this it is ended, and has failed. The apps of depends_on have as long to be ready for it."""


def _short(value: object) -> object:
    if isinstance(value, str | list):
        return {"command": value}
    if not isinstance(value, dict | None):
        raise ValueError(f"should be a command line, a list of words, or {FIELDS}")
    return value


BeforeField = Annotated[BeforeSpec, BeforeValidator(_short)] | None
