"""Documents of releases, as callers write them, and what the API answers. Pure: no I/O, no clock."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from controller.admin.documents import NAME, ObjectName, Replicas, Target
from controller.admin.releases.archive import MAX_ARCHIVE
from controller.schema.ports import LEASE_NAME, MAX_LEASE_NAME
from fleet import defaults
from fleet.routing.port import MAX_PORTS

__all__ = [
    "RELEASE_NAME",
    "Chart",
    "Exposure",
    "Listen",
    "Release",
    "ReleaseDocument",
    "ReleaseList",
    "ReleasePlan",
    "ReleaseSummary",
    "RenderedObject",
    "Revision",
    "RevisionList",
    "Rollback",
]

RELEASE_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
MAX_RELEASE_NAME = 53
"""Characters, as helm has it: charts append to it."""
_BASE64 = r"^[A-Za-z0-9+/]*={0,2}$"
_CHART_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_VERSION = r"^[A-Za-z0-9^~<>=*][A-Za-z0-9.+^~<>=*|, _-]*$"
_OCI = r"^oci://[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)+$"
_REPOSITORY = r"^https?://[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$"
_PATH = r"^/[!-~]*$"
MAX_TIMEOUT = 1800
MAX_PLACE = 200
"""Characters of the place of a value in a complaint."""

ReleaseName = Annotated[str, StringConstraints(pattern=RELEASE_NAME, max_length=MAX_RELEASE_NAME)]
Archive = Annotated[
    str,
    StringConstraints(pattern=_BASE64, max_length=-(-MAX_ARCHIVE // 3) * 4),
    Field(description="A packed chart (helm package), in base64."),
]
Oci = Annotated[str, StringConstraints(pattern=_OCI, max_length=500), Field(description="oci://REGISTRY/…/NAME")]
ChartVersion = Annotated[
    str,
    StringConstraints(pattern=_VERSION, max_length=100),
    Field(description="Version of the chart, or a range of them; the newest without one. An archive has its own."),
]
Credentials = Annotated[
    ObjectName,
    Field(
        description="A Secret of the namespace, with username and password, or .dockerconfigjson for a registry; and ca.crt if "
        "the server's certificate is of an authority of its own. The caller must be allowed to read it."
    ),
]
ServiceName = Annotated[str, StringConstraints(pattern=NAME, max_length=63)]


class Model(BaseModel):
    """A field that nobody knows is a mistake, not something to ignore; "5" is not 5."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Chart(Model):
    """Where the chart is from: one of archive, oci and repository."""

    archive: Archive | None = None
    oci: Oci | None = None
    repository: (
        Annotated[
            str, StringConstraints(pattern=_REPOSITORY, max_length=500), Field(description="Address of a chart repository.")
        ]
        | None
    ) = None
    name: (
        Annotated[
            str, StringConstraints(pattern=_CHART_NAME, max_length=200), Field(description="Of the chart in the repository.")
        ]
        | None
    ) = None
    version: ChartVersion | None = None
    credentials: Credentials | None = None

    @model_validator(mode="after")
    def _has_one_origin(self) -> Chart:
        if sum(origin is not None for origin in (self.archive, self.oci, self.repository)) != 1:
            raise ValueError("needs one of archive, oci and repository")
        if (self.name is not None) != (self.repository is not None):
            raise ValueError("needs name with repository, and only then")
        if self.archive is not None and (self.version is not None or self.credentials is not None):
            raise ValueError("an archive has its version in it, and needs no credentials")
        return self


class Listen(Model):
    """A port on which interceptors listen for a Service: its connections or datagrams wake what it selects."""

    port: Annotated[int, Field(ge=1, le=defaults.PORT_LIMIT, description="Its number.")] | None = None
    lease: (
        Annotated[
            str,
            StringConstraints(pattern=LEASE_NAME, max_length=MAX_LEASE_NAME),
            Field(description="Instead of a number: the name of a lease in this namespace. Without such a lease one is made."),
        ]
        | None
    ) = None
    protocol: Literal["TCP", "UDP"] = "TCP"
    service_port: (
        Annotated[int, Field(ge=1, le=defaults.PORT_LIMIT, description="Port of the Service; that of the exposure if absent.")]
        | None
    ) = None

    @model_validator(mode="after")
    def _has_one_number(self) -> Listen:
        if (self.port is None) == (self.lease is None):
            raise ValueError("needs one of port and lease")
        return self


class Exposure(Model):
    """Requests for one Service of the release: whose they are, and that what it selects sleeps without them."""

    service: Annotated[ServiceName, Field(description="Name of a Service that the chart makes.")]
    port: Annotated[int, Field(ge=1, le=defaults.PORT_LIMIT, description="Of the Service; its first one if absent.")] | None = (
        None
    )
    workload: (
        Annotated[
            ServiceName,
            Field(description="The Deployment or StatefulSet that is scaled; that of the Service's selector if absent."),
        ]
        | None
    ) = None
    hosts: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=260)]],
        Field(
            max_length=50,
            description="Whose requests it gets; without any SERVICE.NAMESPACE, below the domain, or none where it listens.",
        ),
    ] = []
    listen: Annotated[list[Listen], Field(max_length=MAX_PORTS, description="Ports on which interceptors listen for it.")] = []
    paths: Annotated[list[Annotated[str, StringConstraints(pattern=_PATH, max_length=1024)]], Field(max_length=50)] = []
    replicas: Replicas = Replicas()
    target: Target = Target(concurrency=defaults.TARGET)
    cooldown: Annotated[int, Field(ge=0, le=86_400, description="Seconds without requests before it sleeps.")] = 300


def _check_finite(values: dict[str, Any]) -> dict[str, Any]:
    """A number beyond any number, like 1e999, would be null in what helm reads."""
    waiting: list[tuple[str, Any]] = [("", values)]
    while waiting:
        at, value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"has a number that is too large: {at[1:]}")
        if isinstance(value, dict):
            waiting += [(f"{at}.{name}"[:MAX_PLACE], each) for name, each in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{at}[{number}]"[:MAX_PLACE], each) for number, each in enumerate(value)]
    return values


class ReleaseDocument(Model):
    """A release: a chart, its values, and which of its Services get requests through Weir."""

    name: ReleaseName
    chart: Chart
    values: Annotated[
        dict[str, Any], Field(max_length=1000, description="As in a file for helm --values."), AfterValidator(_check_finite)
    ] = {}
    expose: Annotated[list[Exposure], Field(max_length=20)] = []
    skip_crds: Annotated[bool, Field(description="Leave out the directory crds of the chart.")] = False
    timeout: Annotated[
        int, Field(ge=1, le=MAX_TIMEOUT, description="Seconds for everything to become ready; after that it is undone.")
    ] = 300


class Rollback(Model):
    """Which revision to go back to."""

    revision: Annotated[int, Field(ge=1, le=1_000_000, description="The one before the present one if absent.")] | None = None
    timeout: Annotated[int, Field(ge=1, le=MAX_TIMEOUT)] = 300


class Revision(Model):
    """A revision, as helm history has it."""

    revision: int
    updated: str
    status: Annotated[str, Field(description="Helm's word: deployed, superseded, failed, pending-install, …")]
    chart: Annotated[str, Field(description="NAME-VERSION")]
    app_version: str = ""
    description: str = ""


class RevisionList(Model):
    """The revisions of a release, the oldest first."""

    items: list[Revision]


class Release(Model):
    """A release as it is now."""

    namespace: str
    name: str
    revision: Revision
    first_deployed: str
    notes: Annotated[str, Field(description="What the chart says to its user.")]
    values: Annotated[dict[str, Any], Field(description="Those of the document, without the chart's own.")]


class ReleaseSummary(Model):
    """A release in a list."""

    namespace: str
    name: str
    revision: int
    updated: str
    status: str
    chart: str
    app_version: str = ""


class ReleaseList(Model):
    """A page of releases."""

    items: list[ReleaseSummary]
    next: Annotated[int | None, Field(description="Pass it as `offset` to get the next page; null after the last one.")]


class RenderedObject(Model):
    """An object that a chart makes."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    hook: Annotated[str, Field(description="When helm makes it, if it is a hook.")] = ""


class ReleasePlan(Model):
    """What a dry run found: the caller may make these objects, and helm could."""

    objects: list[RenderedObject]
    manifest: Annotated[str, Field(description="The objects as the chart makes them (YAML).")]
