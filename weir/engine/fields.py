"""The types of fields in a file of apps, and the parts that several fields are made of. Values only."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from fleet.defaults import PORT_LIMIT
from fleet.routing.cors import ORIGIN
from fleet.routing.declare import Check, declared
from fleet.routing.duration import DURATION_PATTERN, seconds
from fleet.routing.faults import Fail, RouteError
from fleet.routing.kinds import (
    AGENT,
    AMOUNT,
    COOKIE_NAME,
    COUNT,
    HEADER_NAME,
    HOST,
    MATCHED,
    METHOD,
    NEW_PATH,
    OCTETS,
    PATH,
    POSITIVE_SECONDS,
    REDIRECT_HOST,
    REDIRECT_STATUS,
    REDIRECTS,
    REQUEST_TARGET,
    SECONDS,
    STATUS,
    WEIGHT,
    check_changed_name,
    check_changed_value,
    check_header_name,
    check_sendable,
)
from fleet.routing.protocols import APP_PROTOCOL, PROTOCOLS
from fleet.routing.quantity import QUANTITY_PATTERN, octets
from fleet.routing.route import HeaderMatch, Rule
from fleet.routing.target import SERVER_NAME

__all__ = [
    "DURATION_SCHEMA",
    "EXTENSION",
    "OCTETS_SCHEMA",
    "Amount",
    "AnswerHeaders",
    "AppProtocol",
    "ChangedHeaders",
    "ChangedName",
    "Command",
    "Cookie",
    "Count",
    "Files",
    "Fits",
    "Follows",
    "HeaderName",
    "HeaderSpec",
    "Headers",
    "Host",
    "Hosts",
    "Method",
    "Methods",
    "Model",
    "Name",
    "NewPath",
    "Octets",
    "Origin",
    "Paths",
    "Port",
    "Positive",
    "PositivePort",
    "PositiveSeconds",
    "RawPath",
    "RedirectHost",
    "RedirectStatus",
    "RequestPath",
    "Seconds",
    "ServerName",
    "Status",
    "Text",
    "UserAgent",
    "Variable",
    "Weight",
    "as_octets",
    "fault",
    "port_is_given",
    "without_port",
]

EXTENSION = "x-"
"""Fields that begin so are the user's own, for notes and anchors, as in a file of compose. They are not looked at."""

_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_PATH_PATTERN = r"^/[!-~]*$"
_VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""These patterns are also part of the JSON schema. They must match the whole text."""
_NAME = re.compile(_NAME_PATTERN)
_REQUEST_PATH = re.compile(_PATH_PATTERN)
_VARIABLE = re.compile(_VARIABLE_PATTERN)


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
        raise ValueError('should be text; write it in quotes, like "1" or "off"')
    return value


def _files(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
        return tuple(names)
    raise ValueError("should be the name of a file, or a list of names")


def fault(field: str, reason: str, *beside: str, given: tuple[str, ...] = ()) -> PydanticCustomError:
    """A fault that only shows beside other fields; `field` is where it is to be mended ("" is the whole).

    It is not told when one of the other fields is wrong in itself, because then it may be none. Those `beside` it may be what is
    wrong instead, and are doubted with it; those `given` are not, so that what else is wrong with them is told as well.
    """
    return PydanticCustomError("weir", "{reason}", {"field": field, "reason": reason, "beside": beside, "given": given})


def port_is_given(value: str) -> str:
    """Why nobody sets PORT, and what to write instead."""
    instead = f"port: {value}" if value.isascii() and value.isdigit() else "port: 3000"
    return f"is set for every replica, to the port that it is to listen on; `{instead}` in the app makes that a fixed one"


def without_port(value: dict[str, str]) -> dict[str, str]:
    if "PORT" in value:
        raise fault("PORT", port_is_given(value["PORT"]))
    return value


def Fits(check: Check) -> AfterValidator:  # noqa: N802  # it is written where types are
    """What a routing table asks of a value, asked where the value is read."""

    def checked(value: Any) -> Any:
        try:
            check(value, "", partial(RouteError, ""))
        except RouteError as error:
            raise fault("", error.reason) from error
        return value

    return AfterValidator(checked)


def _without_query(path: str, field: str, fail: Fail) -> None:
    """No request has these in its path: a route of such a path would never be taken. Tables of Kubernetes let it pass."""
    cut = path.partition("?")[0].partition("#")[0]
    if cut != path:
        raise fail(field, f"{path!r} has a query or a fragment, of which routes know nothing; write {cut!r}")


def _request_path(value: str) -> str:
    if not _REQUEST_PATH.fullmatch(value):
        raise ValueError('should be a path that starts with "/", as requests carry it: without spaces, the rest of ASCII only')
    return value


def _schema(*kinds: dict[str, Any]) -> WithJsonSchema:
    """What an editor is to know of a field that may be written in several ways."""
    return WithJsonSchema(kinds[0] if len(kinds) == 1 else {"anyOf": list(kinds)})


_TEXT = {"type": "string"}
_DURATION = {"type": "string", "pattern": DURATION_PATTERN}

DURATION_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": SECONDS.ge}, _DURATION]}
Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=SECONDS.ge, allow_inf_nan=False), WithJsonSchema(DURATION_SCHEMA)]
PositiveSeconds = Annotated[
    float,
    BeforeValidator(seconds),
    Field(gt=POSITIVE_SECONDS.gt, allow_inf_nan=False),
    _schema({"type": "number", "exclusiveMinimum": POSITIVE_SECONDS.gt}, _DURATION),
]
Name = Annotated[str, AfterValidator(_name), _schema({"type": "string", "pattern": _NAME_PATTERN})]
Variable = Annotated[str, AfterValidator(_variable), _schema({"type": "string", "pattern": _VARIABLE_PATTERN})]
Text = Annotated[str, BeforeValidator(_text), _schema(_TEXT)]
RequestPath = Annotated[str, AfterValidator(_request_path), _schema({"type": "string", "pattern": _PATH_PATTERN})]
_WORDS = {"type": "array", "items": _TEXT, "minItems": 1}
Command = Annotated[tuple[str, ...], BeforeValidator(_command), _schema({"type": "string", "pattern": r"\S"}, _WORDS)]
Files = Annotated[
    tuple[str, ...], BeforeValidator(_files), _schema({"type": "string", "minLength": 1}, {**_WORDS, "minItems": 0})
]
Port = Annotated[int, Field(ge=0, le=PORT_LIMIT)]
Amount = Annotated[float, Field(gt=AMOUNT.gt, allow_inf_nan=False)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=COUNT.ge)]
Weight = Annotated[int, Field(ge=WEIGHT.ge, le=WEIGHT.le)]
OCTETS_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "integer", "minimum": OCTETS.ge}, {"type": "string", "pattern": QUANTITY_PATTERN}]
}
Octets = Annotated[int, BeforeValidator(as_octets), Field(ge=OCTETS.ge), WithJsonSchema(OCTETS_SCHEMA)]
Host = Annotated[Text, Fits(HOST.check)]
PathPrefix = Annotated[Text, Fits(PATH.check), Fits(_without_query)]
RawPath = Annotated[Text, Fits(REQUEST_TARGET.check)]
NewPath = Annotated[Text, Fits(NEW_PATH.check), _schema({"type": "string", "pattern": NEW_PATH.pattern})]
AppProtocol = Annotated[Text, Fits(APP_PROTOCOL.check), _schema({"enum": list(PROTOCOLS)})]
ServerName = Annotated[Text, Fits(SERVER_NAME.check)]
HeaderName = Annotated[Text, Field(min_length=1), Fits(HEADER_NAME.check)]
Method = Annotated[Text, Fits(METHOD.check)]
UserAgent = Annotated[Text, Fits(AGENT.check)]
Cookie = Annotated[Text, Fits(COOKIE_NAME.check)]
Origin = Annotated[Text, Fits(ORIGIN.check)]
Status = Annotated[int, Fits(STATUS.check), _schema({"type": "integer", "minimum": STATUS.ge, "maximum": STATUS.le})]
ChangedName = Annotated[Text, Fits(check_changed_name)]
ChangedHeaders = dict[ChangedName, Annotated[Text, Fits(check_changed_value)]]
"""Headers that a rule sets or adds: names and values."""
RedirectHost = Annotated[Text, Fits(REDIRECT_HOST.check)]
RedirectStatus = Annotated[int, Fits(REDIRECT_STATUS.check), _schema({"enum": list(REDIRECTS)})]
PositivePort = Annotated[int, Field(ge=1, le=PORT_LIMIT)]
AnswerHeaders = dict[Annotated[Text, Fits(check_header_name)], Annotated[Text, Fits(check_sendable)]]
"""Headers of answers: names and values."""


class Follows:
    """What a field of the file means: what the field of a route says that it becomes.

    `words` are instead of it where the file writes a value in another form than a route.
    """

    def __init__(self, struct: type[msgspec.Struct], field: str, words: str | None = None) -> None:
        self.declaration = declared(struct)[field]
        self.meaning = words or self.declaration.field.meaning

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "description": self.meaning}


class Model(BaseModel):
    # Strict: YAML reads an unquoted "no" as false and 1.10 as a number, and neither is what was meant.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_extensions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: field for name, field in value.items() if not name.startswith(EXTENSION)}


class HeaderSpec(Model):
    """A header that a request must carry; without a value, presence is enough."""

    name: Annotated[HeaderName, Follows(HeaderMatch, "name")]
    value: Annotated[Annotated[Text, Fits(MATCHED.check)] | None, Follows(HeaderMatch, "value")] = None


Hosts = Annotated[list[Host], Follows(Rule, "hosts")]
Paths = Annotated[list[PathPrefix], Follows(Rule, "paths")]
Headers = Annotated[list[HeaderSpec], Follows(Rule, "headers")]
Methods = Annotated[list[Method], Follows(Rule, "methods")]
