"""What both custom resources say of the requests that come by a rule, beyond which they are. None of it is in the add-on."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from controller.schema.answers import ATOMIC, RoutingRule
from controller.schema.common import (
    NOT_IN_ADDON,
    Name,
    Port,
    follows,
)
from controller.schema.outside import Addresses, Host, check_target
from controller.schema.targets import BackendAppProtocol, BackendTlsField
from fleet import defaults
from fleet.routing import route as routes
from fleet.routing.kinds import NEW_PATH, REDIRECTS, WEIGHT
from fleet.routing.route import MAX_BACKENDS, MAX_CHANGES

__all__ = [
    "Backend",
    "Backends",
    "HeaderChanges",
    "Redirect",
    "RedirectField",
    "RequestHeaders",
    "ResponseHeaders",
    "Rewrite",
    "RewriteField",
    "RouteRule",
]

NewPath = Annotated[str, Meta(pattern=NEW_PATH.pattern, max_length=1024)]


class Rewrite(msgspec.Struct, frozen=True, rename="camel"):
    """What the backend reads in place of what was requested."""

    prefix: Annotated[NewPath, follows(routes.Rewrite, "prefix")]


RewriteField = Annotated[Rewrite | None, follows(routes.Rule, "rewrite", NOT_IN_ADDON)]


_SOME: Final = Meta(extra_json_schema={"maxProperties": MAX_CHANGES})


class HeaderChanges(msgspec.Struct, frozen=True, rename="camel"):
    """What is changed about the header fields of a message. Each name is in one of the lists."""

    set: Annotated[dict[str, str] | None, follows(routes.HeaderChanges, "set"), _SOME] = None
    add: Annotated[dict[str, str] | None, follows(routes.HeaderChanges, "add"), _SOME] = None
    remove: Annotated[
        Annotated[tuple[str, ...], Meta(max_length=MAX_CHANGES)] | None, follows(routes.HeaderChanges, "remove"), ATOMIC
    ] = None


RequestHeaders = Annotated[HeaderChanges | None, follows(routes.Rule, "request_headers", NOT_IN_ADDON)]
ResponseHeaders = Annotated[HeaderChanges | None, follows(routes.Rule, "response_headers", NOT_IN_ADDON)]


class Redirect(msgspec.Struct, frozen=True, rename="camel"):
    """An answer that sends the client elsewhere."""

    scheme: Annotated[Literal["http", "https"] | None, follows(routes.Redirect, "scheme")] = None
    host: Annotated[Name | None, follows(routes.Redirect, "host")] = None
    port: Annotated[Port | None, follows(routes.Redirect, "port")] = None
    path: Annotated[NewPath | None, follows(routes.Redirect, "path")] = None
    prefix: Annotated[NewPath | None, follows(routes.Redirect, "prefix")] = None
    status_code: Annotated[Annotated[int, Meta(ge=REDIRECTS[0], le=REDIRECTS[-1])], follows(routes.Redirect, "status")] = (
        defaults.REDIRECT_STATUS
    )


RedirectField = Annotated[Redirect | None, follows(routes.Rule, "redirect", NOT_IN_ADDON)]


class Backend(msgspec.Struct, frozen=True, rename="camel"):
    """One of the targets behind a rule."""

    service: Annotated[
        Name | None, follows(routes.WeightedTarget, "service", words="Service, in the namespace of this object.")
    ] = None
    port: Annotated[Port | None, follows(routes.WeightedTarget, "port", words="Number of the Service's port.")] = None
    port_name: Annotated[Name | None, follows(routes.WeightedTarget, "port", words="Name of the Service's port.")] = None
    host: Annotated[Host, follows(routes.WeightedTarget, "host", NOT_IN_ADDON)] = None
    addresses: Annotated[Addresses, follows(routes.WeightedTarget, "addresses", NOT_IN_ADDON)] = None
    app_protocol: BackendAppProtocol = None
    tls: BackendTlsField = None
    weight: Annotated[Annotated[int, Meta(ge=WEIGHT.ge, le=WEIGHT.le)], follows(routes.WeightedTarget, "weight")] = 1

    def __post_init__(self) -> None:
        # No rule for the API server: it would count it for as many backends as fit into rules of any number, and refuse that.
        check_target(self)


Backends = Annotated[
    Annotated[tuple[Backend, ...], Meta(max_length=MAX_BACKENDS)] | None, follows(routes.Rule, "backends", NOT_IN_ADDON), ATOMIC
]


class RouteRule(RoutingRule, frozen=True, rename="camel"):
    """One way to the target: any of the hosts, any of the paths, any of the methods, and all of the headers."""

    rewrite: RewriteField = None
    request_headers: RequestHeaders = None
    response_headers: ResponseHeaders = None
    redirect: RedirectField = None
    backends: Backends = None
