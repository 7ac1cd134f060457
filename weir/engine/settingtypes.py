"""The settings of the planes that a file of apps may give, and how their values are written in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError as UnreadableValue

from fleet.routing.duration import seconds
from fleet.runtime.logs import LEVELS
from fleet.runtime.settings import ComponentSettings
from fleet.runtime.tlsparts import tls_groups
from interceptor.settings import InterceptorSettings
from scaler.settings import ScalerSettings
from weir.engine.fields import DURATION_SCHEMA, OCTETS_SCHEMA, as_octets

__all__ = ["PATHS", "SETTINGS", "fault_of", "instead_of", "names_in", "setting_types"]

PATHS = frozenset({"proxy_tls_cert", "proxy_tls_key", "proxy_tls_ca", "proxy_tls_directories", "backend_tls_ca_dirs"})
"""Settings that name files or directories; those in the plural several, separated by commas."""
_OFF = frozenset({"proxy_protocol"})
"""Texts that may be off, beside the settings that list it as a choice."""
_NAMED = re.compile(r"--([a-z]+(?:-[a-z]+)*) \(WEIR_[A-Z_]+\)")

_RESERVED = frozenset(
    {
        "host",
        "port",
        "proxy_port",
        "proxy_tls_port",
        "rpc_port",
        "diagnostics_port",
        "member_name",
        "routes",
        "backends",
        "members",
    }
    # A setting of the process, and components share one process by default: --log-json sets it for all.
    | {"log_json"}
)
"""Settings of components that the engine sets itself."""
_OF_CLIENTS = frozenset({"proxy_tls"})
"""Groups of TLS settings that the engine itself has no part in."""
SETTINGS: Mapping[str, type[ComponentSettings]] = {"interceptor": InterceptorSettings, "scaler": ScalerSettings}


@cache
def setting_types(kind: str) -> Mapping[str, TypeAdapter[Any]]:
    """The settings of a kind of component ("interceptor", "scaler") that a file may set, with the types of their values in it."""
    settings = SETTINGS[kind]
    # TLS of RPC neither: the engine connects to its components in plaintext, on the loopback address. TLS of the proxy is for
    # clients, and the file's own.
    groups = tls_groups(settings.model_fields)
    reserved = _RESERVED.union(*(group.values() for name, group in groups.items() if name not in _OF_CLIENTS))
    return {name: _setting(name, field) for name, field in settings.model_fields.items() if name not in reserved}


def instead_of(kind: str, name: str) -> str:
    """What to write instead of a setting that a file may not give; empty if there is none of that name."""
    if name == "log_json":
        return "--log-json is for all"
    if name == "host":
        return "--host is for all"
    if name == "diagnostics_port":
        return f"it is {kind}_diagnostics in ports"
    if name == "port" or name.endswith("_port"):
        return f"it is {'scaler' if name == 'port' else name.removesuffix('_port')} in ports"
    if name not in SETTINGS[kind].model_fields:
        return ""
    return "weir up's components speak plaintext with each other" if "tls" in name else "weir up sets it itself"


def fault_of(kind: str, given: Mapping[str, Any], *, certificates: bool) -> tuple[str, str] | None:
    """The setting that does not fit the others, and why. `certificates`: whether the interceptors get some beside the file's.

    What is wrong with variables alone is for the component to tell.
    """
    added = {"proxy_tls_directories": "."} if certificates and kind == "interceptor" else {}
    try:
        SETTINGS[kind](**{**added, **given})
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            reason = detail["msg"].removeprefix("Value error, ")
            names = [name.replace("-", "_") for name in _NAMED.findall(reason)]
            if not detail["loc"] and (own := [name for name in names if name in given]):
                return own[0], _NAMED.sub(lambda match: match[1].replace("-", "_"), reason)
    except UnreadableValue:
        pass
    return None


def _setting(name: str, field: FieldInfo) -> TypeAdapter[Any]:
    """The type of a setting in a file, which may write durations and sizes with a unit: 10s, 16Mi."""
    written: Any = field.annotation
    if field.annotation is float:  # seconds, all of them
        written = Annotated[float, BeforeValidator(seconds), WithJsonSchema(DURATION_SCHEMA)]
    elif name.endswith("_bytes"):
        written = Annotated[int, BeforeValidator(as_octets), WithJsonSchema(OCTETS_SCHEMA)]
    elif name == "log_level":
        written = Annotated[str, AfterValidator(_level), WithJsonSchema({"enum": [level.lower() for level in LEVELS]})]
    if name in _OFF or "off" in get_args(field.annotation):
        schema = TypeAdapter(written).json_schema()
        field_off = (BeforeValidator(_off), WithJsonSchema({"anyOf": [schema, {"const": False}]}))
        return TypeAdapter(Annotated[written, *field.metadata, *field_off])
    return TypeAdapter(Annotated[written, *field.metadata] if field.metadata else written)


def _off(value: object) -> object:
    """YAML reads an unquoted off as false."""
    return "off" if value is False else value


def _level(name: str) -> str:
    if name.upper() not in LEVELS:
        raise ValueError(f"should be one of {', '.join(level.lower() for level in LEVELS)}")
    return name


def names_in(name: str, text: str) -> list[str]:
    """The files or directories that a setting of `PATHS` names."""
    if name.endswith("s"):
        return [each.strip() for each in text.split(",") if each.strip()]
    return [text] if text else []
