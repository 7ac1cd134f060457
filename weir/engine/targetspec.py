"""What a file of apps may say of how an app is spoken to, and of another target in its place. Values only.

The content of files comes in by their names, as the file of apps writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self

from msgspec import structs
from pydantic import BeforeValidator, Field, model_validator

from fleet.routing.outside import MAX_ADDRESSES
from fleet.routing.route import ColdStart
from fleet.routing.target import Target, TargetTls
from weir.engine.fields import AppProtocol, Follows, Model, PositivePort, ServerName, Text, fault
from weir.engine.messages import FIELDS
from weir.engine.outsidespec import Address, DnsName, check_place

__all__ = ["Contents", "FallbackField", "FallbackSpec", "Targets", "Tls", "TlsSpec", "unknown_app"]

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


class FallbackSpec(Model):
    """An app of the file, or another place, and how it is spoken to."""

    service: Annotated[Text | None, Follows(Target, "service", "An app of the file, NAME or NAMESPACE/NAME.")] = None
    host: Annotated[DnsName | None, Follows(Target, "host")] = None
    port: Annotated[PositivePort | None, Follows(Target, "port", "Port at the host, or at the addresses.")] = None
    addresses: Annotated[list[Address], Field(max_length=MAX_ADDRESSES), Follows(Target, "addresses")] = []
    app_protocol: Annotated[
        AppProtocol | None, Follows(Target, "app_protocol", "What it speaks; what that app says of itself without it.")
    ] = None
    tls: Annotated[Tls, Follows(Target, "tls", "How its certificate is verified; as that app says it without it.")] = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        named = ("service", "host", "addresses")
        if sum(bool(getattr(self, name)) for name in named) != 1:
            raise fault("service", "is missing, and so are host and addresses; one of them is possible", *named)
        if self.service is None:
            check_place(self.host, self.port, self.addresses)
        elif self.port is not None:
            raise fault("port", "is for a host or addresses; an app of the file has ports of its own", "service")
        return self

    def key(self, namespace: str) -> str | None:
        """ "namespace/name" of an app; without a namespace it is in that of the app that names it."""
        if self.service is None or "/" in self.service:
            return self.service
        return f"{namespace}/{self.service}"

    def target(self, namespace: str, contents: Contents, targets: Targets) -> Target:
        """For an app of this namespace."""
        key = self.key(namespace)
        outside = Target(host=self.host, port=self.port, addresses=tuple(self.addresses))
        target = outside if key is None else targets(key)
        return structs.replace(
            target,
            app_protocol=self.app_protocol or target.app_protocol,
            tls=target.tls if self.tls is None else self.tls.tls(contents),
        )


def _fallback(value: object) -> object:
    if isinstance(value, str):
        return {"service": value}
    if not isinstance(value, dict | None):
        raise ValueError(f"should be the name of an app, or {FIELDS}")
    return value


FallbackField = Annotated[
    Annotated[FallbackSpec | None, BeforeValidator(_fallback)],
    Follows(
        ColdStart,
        "fallback",
        "For requests that waited too long: another app of the file, NAME or NAMESPACE/NAME, or a place as in `backends`.",
    ),
]
