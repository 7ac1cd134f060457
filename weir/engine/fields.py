"""The types of fields in a file of apps, and the parts that several fields are made of. Values only."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from fleet.routing.check import check_readiness_path
from fleet.routing.check_answers import check_agent, check_header_name, check_status
from fleet.routing.check_rules import check_host, check_method
from fleet.routing.duration import DURATION_PATTERN, seconds
from fleet.routing.faults import Fail, RouteError, check_path, check_sendable, check_token
from fleet.routing.quantity import QUANTITY_PATTERN, octets
from fleet.routing.route import HeaderMatch, Rule

__all__ = [
    "DURATION_SCHEMA",
    "EXTENSION",
    "OCTETS_SCHEMA",
    "Amount",
    "AnswerHeaders",
    "Command",
    "Cookie",
    "Count",
    "Files",
    "HeaderName",
    "HeaderSpec",
    "Host",
    "Method",
    "Model",
    "Name",
    "Octets",
    "PathPrefix",
    "Port",
    "PositiveSeconds",
    "RawPath",
    "RequestPath",
    "RuleSpec",
    "Seconds",
    "Status",
    "Text",
    "UserAgent",
    "Variable",
    "as_octets",
    "fault",
]

EXTENSION = "x-"
"""Fields that begin so are the user's own, for notes and anchors, as in a file of compose. They are not looked at."""

_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_PATH_PATTERN = r"^/[!-~]*$"
_VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""Of the schema as well; asked for the whole of a text."""
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
        raise ValueError('should be text; write it in quotes, like "1"')
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


_Checked = TypeVar("_Checked")


def _fit(check: Callable[[_Checked, str, Fail], None]) -> AfterValidator:
    """What a routing table asks of a value, asked where the value is read."""

    def checked(value: _Checked) -> _Checked:
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


def _cookie(value: str, field: str, fail: Fail) -> None:
    check_token(value, field, fail, what="the name of a cookie")


def _matched_value(value: str, field: str, fail: Fail) -> None:
    check_sendable(value, field, fail, what="request")


def _request_path(value: str) -> str:
    if not _REQUEST_PATH.fullmatch(value):
        raise ValueError('should be a path that starts with "/", as requests carry it: without spaces, the rest of ASCII only')
    return value


def _schema(*kinds: dict[str, Any]) -> WithJsonSchema:
    """What an editor is to know of a field that may be written in several ways."""
    return WithJsonSchema(kinds[0] if len(kinds) == 1 else {"anyOf": list(kinds)})


_TEXT = {"type": "string"}
_DURATION = {"type": "string", "pattern": DURATION_PATTERN}

DURATION_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, _DURATION]}
Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False), WithJsonSchema(DURATION_SCHEMA)]
PositiveSeconds = Annotated[
    float,
    BeforeValidator(seconds),
    Field(gt=0, allow_inf_nan=False),
    _schema({"type": "number", "exclusiveMinimum": 0}, _DURATION),
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
Port = Annotated[int, Field(ge=0, le=65535)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
OCTETS_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": QUANTITY_PATTERN}]}
Octets = Annotated[int, BeforeValidator(as_octets), Field(ge=0), WithJsonSchema(OCTETS_SCHEMA)]
Host = Annotated[Text, _fit(check_host)]
PathPrefix = Annotated[Text, _fit(check_path), _fit(_without_query)]
RawPath = Annotated[Text, _fit(check_readiness_path)]
HeaderName = Annotated[Text, Field(min_length=1), _fit(check_token)]
Method = Annotated[Text, _fit(check_method)]
UserAgent = Annotated[Text, _fit(check_agent)]
Cookie = Annotated[Text, _fit(_cookie)]
Status = Annotated[int, _fit(check_status), _schema({"type": "integer", "minimum": 200, "maximum": 599})]
AnswerHeaders = dict[Annotated[Text, _fit(check_header_name)], Annotated[Text, _fit(check_sendable)]]
"""Of answers: name and value."""


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

    name: HeaderName
    value: Annotated[Text, _fit(_matched_value)] | None = None


class RuleSpec(Model):
    """One way to the app: any of the hosts, any of the paths, any of the methods, and all of the headers."""

    hosts: list[Host] = []
    paths: list[PathPrefix] = []
    headers: list[HeaderSpec] = []
    methods: list[Method] = []

    @model_validator(mode="after")
    def _not_empty(self) -> RuleSpec:
        ways = ("hosts", "paths", "headers", "methods")
        if not any(getattr(self, way) for way in ways):
            raise fault("hosts", 'is missing, and so are paths, headers and methods; "*" is any host', *ways)
        return self

    def rule(self) -> Rule:
        headers = tuple(HeaderMatch(name=header.name, value=header.value) for header in self.headers)
        return Rule(hosts=tuple(self.hosts), paths=tuple(self.paths), headers=headers, methods=tuple(self.methods))
