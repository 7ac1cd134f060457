"""What a file of apps may say of requests that meet no ready replica, or none at all. Values only.

The content of files comes in by their names, as the file of apps writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, model_validator

from fleet.routing.contenttype import content_type
from fleet.routing.route import Affinity, ColdStart, HeaderMatch, Placeholder, Rule, StaticResponse, StaticRoute
from weir.engine.fields import (
    AnswerHeaders,
    Cookie,
    Follows,
    HeaderName,
    Headers,
    Hosts,
    Methods,
    Model,
    Paths,
    Seconds,
    Status,
    Text,
    UserAgent,
    fault,
)
from weir.engine.messages import FIELDS
from weir.engine.targetspec import Contents

__all__ = [
    "AffinitySpec",
    "MaintenanceField",
    "MaintenanceSpec",
    "PlaceholderField",
    "PlaceholderSpec",
    "StaticSpec",
]

ResponseHeaders = Annotated[AnswerHeaders, Follows(StaticResponse, "headers")]


def _switch(value: object) -> object:
    """true is all the defaults, false is nothing."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict | None):
        raise ValueError(f"should be true, false, or {FIELDS}")
    return value


class _Body(Model):
    """What an answer consists of."""

    status: Annotated[Status | None, Follows(StaticResponse, "status")] = None
    body: Annotated[
        Text | None, Follows(StaticResponse, "body", "The body; without one, a placeholder and maintenance have a built-in page.")
    ] = None
    file: Annotated[
        Text | None, Follows(StaticResponse, "body", "Name of a file with the body, relative to the file of apps.")
    ] = None

    @model_validator(mode="after")
    def _one_body(self) -> _Body:
        if self.body is not None and self.file is not None:
            raise fault("file", "say body or file, not both", "body")
        return self

    def _made(self, headers: Mapping[str, str], contents: Contents) -> StaticResponse:
        """The response. Without body and file, the interceptor chooses the body."""
        if self.body is None and self.file is None:
            return StaticResponse(self.status, tuple(headers.items()))
        body = contents[self.file] if self.file is not None else (self.body or "").encode()
        given = tuple(headers.items())
        if body and not any(name.lower() == "content-type" for name in headers):
            given += (("Content-Type", content_type(body, self.file or "")),)
        return StaticResponse(self.status, given, body)


class MaintenanceSpec(_Body):
    """The answer to every request; without a body the built-in page."""

    headers: ResponseHeaders = {}

    def response(self, contents: Contents) -> StaticResponse:
        return self._made(self.headers, contents)


class PlaceholderSpec(_Body):
    """The answer while no replica is ready; without a body the built-in page."""

    headers: ResponseHeaders = {}
    everyone: Annotated[
        bool,
        Follows(Placeholder, "browsers_only", "Whether programs get it as well; otherwise they wait, and only browsers get it."),
    ] = False
    when_full: Annotated[bool, Follows(ColdStart, "overflow_placeholder")] = False

    def placeholder(self, contents: Contents) -> Placeholder:
        return Placeholder(self._made(self.headers, contents), browsers_only=not self.everyone)


class StaticSpec(_Body):
    """Requests that are answered in the replicas' place, and not counted."""

    hosts: Hosts = []
    paths: Paths = []
    headers: Headers = []
    methods: Methods = []
    user_agents: Annotated[list[UserAgent], Follows(StaticRoute, "user_agents")] = []
    response_headers: ResponseHeaders = {}
    always: Annotated[bool, Follows(StaticRoute, "always")] = False

    @model_validator(mode="after")
    def _not_empty(self) -> StaticSpec:
        ways = ("hosts", "paths", "headers", "methods", "user_agents")
        if not any(getattr(self, way) for way in ways):
            raise fault("paths", "is missing, and so are hosts, headers, methods and user_agents", *ways)
        return self

    def route(self, contents: Contents) -> StaticRoute:
        headers = tuple(HeaderMatch(name=header.name, value=header.value) for header in self.headers)
        rule = Rule(tuple(self.hosts), tuple(self.paths), headers, tuple(self.methods))
        return StaticRoute(
            self._made(self.response_headers, contents),
            () if rule == Rule() else (rule,),
            tuple(self.user_agents),
            always=self.always,
        )


class AffinitySpec(Model):
    """Requests of one session go to one replica for as long as it is ready."""

    cookie: Annotated[Cookie | None, Follows(Affinity, "cookie")] = None
    header: Annotated[HeaderName | None, Follows(Affinity, "header")] = None
    max_age: Annotated[Seconds | None, Follows(Affinity, "max_age")] = None

    @model_validator(mode="after")
    def _one_of_two(self) -> AffinitySpec:
        if (self.cookie is None) == (self.header is None):
            raise fault("", "is either by a cookie or by a header", "cookie", "header")
        if self.max_age is not None and self.cookie is None:
            raise fault("max_age", "is of a cookie, and there is none", "cookie", "header")
        return self

    def affinity(self) -> Affinity:
        return Affinity(self.cookie, self.header, self.max_age)


MaintenanceField = Annotated[MaintenanceSpec | None, BeforeValidator(_switch)]
PlaceholderField = Annotated[PlaceholderSpec | None, BeforeValidator(_switch)]
