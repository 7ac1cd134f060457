"""The types of fields in a file of apps, and the parts that several fields are made of. Values only."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from fleet.routing.quantity import octets
from fleet.routing.route import HeaderMatch, Rule

__all__ = [
    "Amount",
    "Command",
    "Count",
    "HeaderSpec",
    "Model",
    "Name",
    "Octets",
    "Port",
    "PositiveSeconds",
    "RequestPath",
    "RuleSpec",
    "Seconds",
    "Text",
    "Variable",
    "as_octets",
    "fault",
    "seconds",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_REQUEST_PATH = re.compile(r"/[!-~]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def seconds(value: object) -> object:
    """Of a number or a duration as people write it. Raises ValueError."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError("should be seconds, or a duration like 500ms, 10s, 5m")
        return float(match[1]) * _UNITS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be seconds, or a duration like 500ms, 10s, 5m")
    return value


def as_octets(value: object) -> object:
    """Bytes of a number or a quantity as people write it. Raises ValueError."""
    return octets(value) if isinstance(value, str) else value


def _command(value: object) -> object:
    if isinstance(value, str) and value.strip():
        return ("/bin/sh", "-c", value)
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("should be a command line, or a list of words")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("should be lower-case letters, digits and hyphens, at most 63")
    return value


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError("should be the name of an environment variable")
    return value


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('should be text; write it in quotes, like "1"')
    return value


def fault(field: str, reason: str) -> PydanticCustomError:
    """A fault that only shows beside other fields; `field` is where it is to be mended."""
    return PydanticCustomError("weir", "{reason}", {"field": field, "reason": reason})


def _request_path(value: str) -> str:
    if not _REQUEST_PATH.fullmatch(value):
        raise ValueError('should be a path that starts with "/", as requests carry it: without spaces, the rest of ASCII only')
    return value


Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, AfterValidator(_name)]
Variable = Annotated[str, AfterValidator(_variable)]
Text = Annotated[str, BeforeValidator(_text)]
RequestPath = Annotated[str, AfterValidator(_request_path)]
Command = Annotated[tuple[str, ...], BeforeValidator(_command)]
Port = Annotated[int, Field(ge=0, le=65535)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Octets = Annotated[int, BeforeValidator(as_octets), Field(ge=0)]


class Model(BaseModel):
    # Strict: YAML reads an unquoted "no" as false and 1.10 as a number, and neither is what was meant.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HeaderSpec(Model):
    """A header that a request must carry; without a value, presence is enough."""

    name: str = Field(min_length=1)
    value: Text | None = None


class RuleSpec(Model):
    """One way to the app: any of the hosts and any of the paths and all of the headers."""

    hosts: list[str] = []
    paths: list[str] = []
    headers: list[HeaderSpec] = []

    @model_validator(mode="after")
    def _not_empty(self) -> RuleSpec:
        if not (self.hosts or self.paths or self.headers):
            raise fault("hosts", 'is missing, and so are paths and headers; "*" is any host')
        return self

    def rule(self) -> Rule:
        headers = tuple(HeaderMatch(name=header.name, value=header.value) for header in self.headers)
        return Rule(hosts=tuple(self.hosts), paths=tuple(self.paths), headers=headers)
