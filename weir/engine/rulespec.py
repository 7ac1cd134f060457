"""What a file of apps may say of the ways to an app, and of the requests that come by them. Values only."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import structs
from pydantic import Field, model_validator

from fleet import defaults
from fleet.routing.outside import MAX_ADDRESSES
from fleet.routing.route import (
    MAX_BACKENDS,
    MAX_CHANGES,
    HeaderChanges,
    HeaderMatch,
    Redirect,
    Rewrite,
    Rule,
    WeightedTarget,
)
from weir.engine.fields import (
    AppProtocol,
    ChangedHeaders,
    ChangedName,
    Follows,
    Headers,
    Hosts,
    Methods,
    Model,
    NewPath,
    Paths,
    PositivePort,
    RedirectHost,
    RedirectStatus,
    Text,
    Weight,
    fault,
)
from weir.engine.outsidespec import Address, DnsName
from weir.engine.targetspec import Contents, FallbackSpec, Targets, Tls

__all__ = [
    "BackendSpec",
    "Backends",
    "HeaderChangesSpec",
    "RedirectField",
    "RedirectSpec",
    "RequestHeaders",
    "ResponseHeaders",
    "RewriteField",
    "RewriteSpec",
    "RuleSpec",
]


class RewriteSpec(Model):
    """What the app reads in place of what was requested."""

    prefix: Annotated[NewPath, Follows(Rewrite, "prefix")]

    def rewrite(self) -> Rewrite:
        return Rewrite(self.prefix)


RewriteField = Annotated[RewriteSpec | None, Follows(Rule, "rewrite")]


class HeaderChangesSpec(Model):
    """What is changed about the header fields of a message. Each name is in one of the lists."""

    set: Annotated[ChangedHeaders, Field(max_length=MAX_CHANGES), Follows(HeaderChanges, "set")] = {}
    add: Annotated[ChangedHeaders, Field(max_length=MAX_CHANGES), Follows(HeaderChanges, "add")] = {}
    remove: Annotated[list[ChangedName], Field(max_length=MAX_CHANGES), Follows(HeaderChanges, "remove")] = []

    def changes(self) -> HeaderChanges:
        return HeaderChanges(tuple(self.set.items()), tuple(self.add.items()), tuple(self.remove))


class RedirectSpec(Model):
    """An answer that sends the client elsewhere."""

    scheme: Annotated[Literal["http", "https"] | None, Follows(Redirect, "scheme")] = None
    host: Annotated[RedirectHost | None, Follows(Redirect, "host")] = None
    port: Annotated[PositivePort | None, Follows(Redirect, "port")] = None
    path: Annotated[NewPath | None, Follows(Redirect, "path")] = None
    prefix: Annotated[NewPath | None, Follows(Redirect, "prefix")] = None
    status: Annotated[RedirectStatus, Follows(Redirect, "status")] = defaults.REDIRECT_STATUS

    def redirect(self) -> Redirect:
        return Redirect(self.scheme, self.host, self.port, self.path, self.prefix, self.status)


RequestHeaders = Annotated[HeaderChangesSpec | None, Follows(Rule, "request_headers")]
ResponseHeaders = Annotated[HeaderChangesSpec | None, Follows(Rule, "response_headers")]
RedirectField = Annotated[RedirectSpec | None, Follows(Rule, "redirect")]


class BackendSpec(FallbackSpec):
    """One of the apps behind a rule, or another place."""

    service: Annotated[Text | None, Follows(WeightedTarget, "service", "An app of the file, NAME or NAMESPACE/NAME.")] = None
    host: Annotated[DnsName | None, Follows(WeightedTarget, "host")] = None
    port: Annotated[PositivePort | None, Follows(WeightedTarget, "port", "Port at the host, or at the addresses.")] = None
    addresses: Annotated[list[Address], Field(max_length=MAX_ADDRESSES), Follows(WeightedTarget, "addresses")] = []
    app_protocol: Annotated[
        AppProtocol | None, Follows(WeightedTarget, "app_protocol", "What it speaks; what that app says of itself without it.")
    ] = None
    tls: Annotated[Tls, Follows(WeightedTarget, "tls", "How its certificate is verified; as that app says it without it.")] = None
    weight: Annotated[Weight, Follows(WeightedTarget, "weight")] = 1

    def weighted(self, namespace: str, contents: Contents, targets: Targets) -> WeightedTarget:
        """For a rule of an app of this namespace."""
        return WeightedTarget(**structs.asdict(self.target(namespace, contents, targets)), weight=self.weight)


Backends = Annotated[
    list[BackendSpec],
    Field(max_length=MAX_BACKENDS),
    Follows(
        Rule, "backends", "Apps that the requests go to instead, by weight. All are counted for this one; those apps follow."
    ),
]


class RuleSpec(Model):
    """One way to the app: any of the hosts, any of the paths, any of the methods, and all of the headers."""

    hosts: Hosts = []
    paths: Paths = []
    headers: Headers = []
    methods: Methods = []
    rewrite: RewriteField = None
    request_headers: RequestHeaders = None
    response_headers: ResponseHeaders = None
    redirect: RedirectField = None
    backends: Backends = []

    @model_validator(mode="after")
    def _not_empty(self) -> RuleSpec:
        ways = ("hosts", "paths", "headers", "methods")
        if not any(getattr(self, way) for way in ways):
            raise fault("hosts", 'is missing, and so are paths, headers and methods; "*" is any host', *ways)
        return self

    def selection(self) -> Rule:
        """Which requests it is for, and nothing more."""
        headers = tuple(HeaderMatch(name=header.name, value=header.value) for header in self.headers)
        return Rule(tuple(self.hosts), tuple(self.paths), headers, tuple(self.methods))

    def rule(self, namespace: str, contents: Contents, targets: Targets) -> Rule:
        """The rule of an app of this namespace, given the content of its files, and the targets of other apps."""
        return structs.replace(
            self.selection(),
            rewrite=None if self.rewrite is None else self.rewrite.rewrite(),
            request_headers=None if self.request_headers is None else self.request_headers.changes(),
            response_headers=None if self.response_headers is None else self.response_headers.changes(),
            redirect=None if self.redirect is None else self.redirect.redirect(),
            backends=tuple(backend.weighted(namespace, contents, targets) for backend in self.backends),
        )
