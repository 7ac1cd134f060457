"""Settings of a component: one typed class each, read once from the environment and from flags.

Defines how settings are read, validated and documented; the settings themselves are defined by each component.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar, Final, NoReturn, Self

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableValue

from fleet.routing.duration import seconds
from fleet.runtime.tlsparts import fault_of_set, tls_groups

__all__ = ["ENVIRONMENT_PREFIX", "HIDDEN", "ComponentSettings", "SettingsError"]

ENVIRONMENT_PREFIX: Final = "WEIR_"
HIDDEN: Final = "(hidden)"
"""Shown for a secret."""


class SettingsError(Exception):
    """The settings are invalid. The message is one line for an operator."""


class ComponentSettings(BaseSettings):
    """Base class of a component's settings: each field is also `WEIR_<FIELD>` and `--field`; a flag overrides a variable.

    Subclasses declare fields with `Field(default, description="unit and reason")`. A float field is a time in seconds, which may
    be written as a duration. Fields named `tls_cert`, `tls_key`, `tls_ca` and `tls_name`, with any common prefix, are one group,
    which must be given completely or not at all.
    """

    secrets: ClassVar[frozenset[str]] = frozenset()
    """Fields whose values are never shown."""
    authorities: ClassVar[Mapping[str, str]] = {}
    """Authorities of clients that may be given without the certificate of their group: the field that then has certificates."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _written_as_a_duration(cls, value: Any, info: ValidationInfo) -> Any:
        """Float fields are times: durations such as "90s" and "1m30s" are accepted beside seconds."""
        return seconds(value) if cls.model_fields[str(info.field_name)].annotation is float else value

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        for fields in tls_groups(type(self).model_fields).values():
            names = {part: f"{_flag(field)} ({_variable(field)})" for part, field in fields.items()}
            given = {part: getattr(self, field) for part, field in fields.items() if field in self.model_fields_set}
            beside = self.authorities.get(fields.get("ca", ""))
            if given.keys() == {"ca"} and given["ca"] and beside is not None and getattr(self, beside):
                continue
            fault = fault_of_set(given, names)
            if fault is not None:
                raise ValueError(fault)
        return self

    @classmethod
    def load(cls, argv: Sequence[str] = ()) -> Self:
        """Settings from the environment and the flags in argv. Raises SettingsError."""
        flags = vars(_parser(cls).parse_args(list(argv)))
        try:
            return cls(**flags)
        except ValidationError as error:
            raise SettingsError(_as_given(_one_line(error, flags), cls._given_elsewhere(), flags)) from error
        except UnreadableValue as error:
            raise SettingsError(" ".join(str(error).split())) from error

    @classmethod
    def _given_elsewhere(cls) -> Mapping[str, str]:
        """By field: the variable of another system by which it is given, which flags and variables of Weir's own override."""
        return {}

    def shown(self) -> dict[str, Any]:
        """Every setting for people, and which are not the default. Of a secret only whether there is one."""
        given = sorted(name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default)
        return {
            "not_default": given,
            "settings": {
                name: (HIDDEN if value else "") if name in self.secrets else value for name, value in self.model_dump().items()
            },
        }

    @classmethod
    def describe(cls) -> str:
        """The settings as a Markdown table: variable, flag, default, description."""
        head = ["| Variable | Flag | Default | Meaning |", "|---|---|---|---|"]
        return "\n".join(head + [_row(name, field) for name, field in cls.model_fields.items()]) + "\n"


class _Parser(argparse.ArgumentParser):
    """Raises SettingsError for a wrong flag instead of exiting the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def _parser(cls: type[ComponentSettings]) -> _Parser:
    # SUPPRESS: a flag that was not given must not hide the environment or the default. No abbreviations: their meaning would
    # change when a field is added.
    parser = _Parser(prog=cls.__name__, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    for name, field in cls.model_fields.items():
        options: dict[str, Any] = {"dest": name, "help": (field.description or "").replace("%", "%%")}
        if field.annotation is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = "VALUE"
        parser.add_argument(_flag(name), **options)
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return ENVIRONMENT_PREFIX + name.upper()


def _as_given(text: str, elsewhere: Mapping[str, str], flags: Container[str]) -> str:
    """What an error says, with the names that whoever reads it has written."""
    for field, variable in elsewhere.items():
        if field in flags or os.environ.get(_variable(field)):
            continue
        text = text.replace(f"{_flag(field)} ({_variable(field)})", variable)
        text = text.replace(f"{_variable(field)}: ", f"{variable}: ")
    return text


def _one_line(error: ValidationError, flags: dict[str, Any]) -> str:
    return "; ".join(_complaint(detail, flags) for detail in error.errors(include_url=False))


def _complaint(detail: ErrorDetails, flags: dict[str, Any]) -> str:
    """Names the flag or variable that is wrong, and never its value, which may be a secret."""
    message = " ".join(detail["msg"].removeprefix("Value error, ").split())
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0])
    return f"{_flag(name) if name in flags else _variable(name)}: {message}"


def _row(name: str, field: FieldInfo) -> str:
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{_variable(name)}` | `{_flag(name)}` | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    if field.default_factory is not None:
        return "(found at start)"  # differs between machines (such as the host name), so it cannot be documented
    return "(none)" if field.default is None or field.default == "" else f"`{field.default}`"
