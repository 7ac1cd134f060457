"""The KEDA HTTP add-on's settings of TLS, with the meaning that they have there: environment variables KEDA_HTTP_….

Each stands for one of Weir's own settings, which takes precedence where both are given. As there, the older name of a setting
(KEDA_HTTP_PROXY_TLS_…, before 0.16) is preferred to the newer one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

__all__ = ["AddOnSettings", "of_add_on"]

_ENABLED: Final = "KEDA_HTTP_PROXY_TLS_ENABLED"
_LISTENER: Final[Mapping[str, tuple[str, str]]] = {
    "proxy_tls_cert": ("KEDA_HTTP_PROXY_TLS_CERT_PATH", "/certs/tls.crt"),
    "proxy_tls_key": ("KEDA_HTTP_PROXY_TLS_KEY_PATH", "/certs/tls.key"),
    "proxy_tls_directories": ("KEDA_HTTP_PROXY_TLS_CERT_STORE_PATHS", ""),
    "proxy_tls_port": ("KEDA_HTTP_PROXY_TLS_PORT", ""),
}
"""Read only where TLS is enabled: variable and the add-on's default, which applies unless Weir has the same."""
_POLICY: Final[Mapping[str, tuple[str, ...]]] = {
    "tls_min_version": ("KEDA_HTTP_PROXY_TLS_MIN_VERSION", "KEDA_HTTP_TLS_MIN_VERSION"),
    "tls_max_version": ("KEDA_HTTP_PROXY_TLS_MAX_VERSION", "KEDA_HTTP_TLS_MAX_VERSION"),
    "tls_cipher_suites": ("KEDA_HTTP_PROXY_TLS_CIPHER_SUITES", "KEDA_HTTP_TLS_CIPHER_SUITES"),
    "backend_tls_skip_verify": ("KEDA_HTTP_PROXY_TLS_SKIP_VERIFY", "KEDA_HTTP_TLS_SKIP_VERIFY"),
    "backend_tls_ca_dirs": ("KEDA_HTTP_TLS_CA_DIRS",),
    "tls_curves": ("KEDA_HTTP_PROXY_TLS_CURVE_PREFERENCES", "KEDA_HTTP_TLS_CURVE_PREFERENCES"),
}
_TRUE: Final = frozenset({"1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false", ""})
"""What Go's strconv.ParseBool takes, in any case."""


def of_add_on(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Weir's settings by the add-on's variables: value and variable of each field. Raises SettingsError."""
    found: dict[str, tuple[str, str]] = {}
    if _is_true(_ENABLED, environment.get(_ENABLED, "")):
        for field, (variable, usual) in _LISTENER.items():
            if value := environment.get(variable) or usual:
                found[field] = value, variable
        found["backend_tls_as_clients"] = "true", _ENABLED
    for field, variables in _POLICY.items():
        if given := next((name for name in variables if environment.get(name)), None):
            found[field] = environment[given], given
    return found


def _is_true(variable: str, text: str) -> bool:
    lower = text.lower()
    if lower not in _TRUE | _FALSE:
        raise SettingsError(f"{variable}: neither true nor false")
    return lower in _TRUE


class AddOnSettings(PydanticBaseSettingsSource):
    """The source of these values, for pydantic."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: all fields are found at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return {field: value for field, (value, _) in of_add_on(os.environ).items()}
