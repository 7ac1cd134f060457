"""What a file of apps may say of how an app is spoken to. Values only.

The content of files comes in by their names, as the file of apps writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from fleet.routing.target import Target, TargetTls
from weir.engine.fields import Follows, Model, ServerName, Text, fault

__all__ = ["Contents", "Targets", "Tls", "TlsSpec", "unknown_app"]

Contents = Mapping[str, bytes]
Targets = Callable[[str], Target]
"""The target of an app of the file, by its key."""


class TlsSpec(Model):
    """TLS to an app."""

    server_name: Annotated[
        ServerName | None,
        Follows(
            TargetTls,
            "server_name",
            "Name, or IP address, that the app's certificate must have, and that is asked for (SNI). Without it, "
            "NAME.NAMESPACE.svc, or the DNS name of an app outside.",
        ),
    ] = None
    ca: Annotated[
        Text | None,
        Follows(
            TargetTls,
            "ca_bundle",
            "File with the authorities of the app's certificate, PEM, relative to the file of apps: these and no others. "
            "Without it, those that interceptors believe.",
        ),
    ] = None
    skip_verify: Annotated[bool, Follows(TargetTls, "insecure_skip_verify")] = False

    @model_validator(mode="after")
    def _one_or_the_other(self) -> TlsSpec:
        if self.skip_verify and self.ca is not None:
            raise fault("skip_verify", "there are authorities as well, and they would not be asked", "ca")
        return self

    def tls(self, contents: Contents) -> TargetTls:
        # What is not ASCII is no PEM, which the check of the route says.
        bundle = None if self.ca is None else contents[self.ca].decode("latin-1")
        return TargetTls(self.server_name, bundle, self.skip_verify)


def _said(value: Any) -> Any:
    # Whoever writes `tls:` with nothing behind it does not ask for plaintext.
    if value is None:
        raise ValueError("is empty; {} is TLS with the usual authorities and name")
    return value


Tls = Annotated[TlsSpec | None, BeforeValidator(_said)]


def unknown_app(key: str) -> Target:
    """For an app of which the file says nothing."""
    return Target(key)
