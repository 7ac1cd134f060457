"""The settings of the planes that a file of apps may give, and how their values are written in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, WithJsonSchema
from pydantic.fields import FieldInfo

from fleet.routing.duration import seconds
from fleet.runtime.logs import LEVELS
from fleet.runtime.settings import ComponentSettings
from fleet.runtime.tlsparts import tls_groups
from interceptor.settings import InterceptorSettings
from scaler.settings import ScalerSettings
from weir.engine.fields import DURATION_SCHEMA, OCTETS_SCHEMA, as_octets

__all__ = ["SETTINGS", "setting_types"]

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
SETTINGS: Mapping[str, type[ComponentSettings]] = {"interceptor": InterceptorSettings, "scaler": ScalerSettings}


@cache
def setting_types(kind: str) -> Mapping[str, TypeAdapter[Any]]:
    """The settings of a kind of component ("interceptor", "scaler") that a file may set, with the types of their values in it."""
    settings = SETTINGS[kind]
    # TLS settings neither: the engine connects to its components in plaintext, on the loopback address.
    reserved = _RESERVED.union(*(group.values() for group in tls_groups(settings.model_fields).values()))
    return {name: _setting(name, field) for name, field in settings.model_fields.items() if name not in reserved}


def _setting(name: str, field: FieldInfo) -> TypeAdapter[Any]:
    """The type of a setting in a file, which may write durations and sizes with a unit: 10s, 16Mi."""
    written: Any = field.annotation
    if field.annotation is float:  # seconds, all of them
        written = Annotated[float, BeforeValidator(seconds), WithJsonSchema(DURATION_SCHEMA)]
    elif name.endswith("_bytes"):
        written = Annotated[int, BeforeValidator(as_octets), WithJsonSchema(OCTETS_SCHEMA)]
    elif name == "log_level":
        written = Annotated[str, AfterValidator(_level), WithJsonSchema({"enum": [level.lower() for level in LEVELS]})]
    return TypeAdapter(Annotated[written, *field.metadata] if field.metadata else written)


def _level(name: str) -> str:
    if name.upper() not in LEVELS:
        raise ValueError(f"should be one of {', '.join(level.lower() for level in LEVELS)}")
    return name
