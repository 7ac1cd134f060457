"""What both custom resources say of how the backends of a Service are spoken to. None of it is in the add-on."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from controller.schema.common import NOT_IN_ADDON, Name, follows
from fleet.routing import route as routes
from fleet.routing import target as targets
from fleet.routing.protocols import PROTOCOLS
from fleet.routing.target import MAX_CA_BYTES, MAX_SERVER_NAME

__all__ = [
    "DEFAULT_CA_KEY",
    "AppProtocol",
    "BackendAppProtocol",
    "BackendTlsField",
    "CaBundleFromConfigMap",
    "Tls",
    "TlsField",
]

DEFAULT_CA_KEY: Final = "ca.crt"
"""Of ConfigMaps with authorities, as cert-manager and Kubernetes itself write them."""


class CaBundleFromConfigMap(msgspec.Struct, frozen=True, rename="camel"):
    """Authorities that a ConfigMap holds. Without the ConfigMap or the key the object is invalid, and the status says so."""

    name: Annotated[
        Name, Meta(description='ConfigMap in the namespace of this object, with the label http.keda.sh/ca-bundle: "true".')
    ]
    key: Annotated[Name | None, Meta(description=f"Key in the ConfigMap; {DEFAULT_CA_KEY} without it.")] = None


class Tls(msgspec.Struct, frozen=True, rename="camel"):
    """TLS to the backends of a Service."""

    server_name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_SERVER_NAME)] | None, follows(targets.TargetTls, "server_name")
    ] = None
    ca_bundle: Annotated[Annotated[str, Meta(max_length=MAX_CA_BYTES)] | None, follows(targets.TargetTls, "ca_bundle")] = None
    ca_bundle_from_config_map: Annotated[
        CaBundleFromConfigMap | None,
        follows(targets.TargetTls, "ca_bundle", words="The same, from a ConfigMap, and followed when that changes."),
    ] = None
    insecure_skip_verify: Annotated[bool, follows(targets.TargetTls, "insecure_skip_verify")] = False

    def __post_init__(self) -> None:
        # No rules for the API server: it would count them for as many backends as fit into rules of any number, and refuse that.
        if self.ca_bundle is not None and self.ca_bundle_from_config_map is not None:
            raise ValueError("'caBundle' and 'caBundleFromConfigMap' exclude each other")
        if self.insecure_skip_verify and (self.ca_bundle, self.ca_bundle_from_config_map) != (None, None):
            raise ValueError("'insecureSkipVerify' and authorities exclude each other")


_Word = Annotated[str, Meta(extra_json_schema={"enum": list(PROTOCOLS)})]
AppProtocol = Annotated[_Word | None, follows(targets.Target, "app_protocol", NOT_IN_ADDON)]
TlsField = Annotated[Tls | None, follows(targets.Target, "tls", NOT_IN_ADDON)]
BackendAppProtocol = Annotated[_Word | None, follows(routes.WeightedTarget, "app_protocol")]
BackendTlsField = Annotated[Tls | None, follows(routes.WeightedTarget, "tls")]
