"""The document of a preview, as callers write it, and what the API answers. Pure: no I/O, no clock.

Every text, list and number has a bound here. What else the controller would find wrong with it is asked of its own parser in
controller.admin.previews.objects.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from controller.admin.documents import (
    CLOSED,
    IMAGE,
    MAX_REPLICAS,
    Condition,
    ObjectName,
    Resources,
    RunningReplicas,
    Value,
    Variable,
)
from controller.schema.common import DURATION_PATTERN, MAX_DURATION
from controller.schema.preview import MAX_HOOKS, MAX_NAMESPACE, NAMESPACE
from fleet.routing.previews import COPY_NAME_PATTERN, MAX_COPY_NAME

__all__ = ["Hook", "Preview", "PreviewDocument", "PreviewList", "PreviewReplicas", "State"]

CopyName = Annotated[str, StringConstraints(pattern=COPY_NAME_PATTERN, max_length=MAX_COPY_NAME)]


class _Model(BaseModel):
    """A field that nobody knows is a mistake, not something to ignore; "5" is not 5."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PreviewReplicas(_Model):
    """Bounds of the number of replicas of the copy."""

    min: Annotated[int, Field(ge=0, le=MAX_REPLICAS, description="0: it sleeps without requests.")] = 0
    max: Annotated[int | None, Field(ge=1, le=MAX_REPLICAS, description="Those of the base without it.")] = None

    @model_validator(mode="after")
    def _in_order(self) -> PreviewReplicas:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min is {self.min}, and max is only {self.max}")
        return self


class Hook(_Model):
    """A Job that runs once: before the copy is made, or when the preview is deleted."""

    name: CopyName
    job: Annotated[dict[str, Any], Field(description="The spec of the Job (batch/v1).")]


class PreviewDocument(_Model):
    """A preview: a copy of an application's workload for the requests that name it. Only base and name are needed."""

    base: Annotated[ObjectName, Field(description="The HTTPScaledObject of the namespace whose workload is copied.")]
    name: Annotated[CopyName, Field(description="What requests choose it by, and a part of its host.")]
    container: Annotated[
        str | None,
        StringConstraints(min_length=1, max_length=63),
        Field(description="The container that the next three are about; default: the first one."),
    ] = None
    image: Annotated[
        str | None, StringConstraints(pattern=IMAGE, max_length=1000), Field(description="Default: that of the base.")
    ] = None
    environment: Annotated[
        dict[Variable, Value],
        Field(max_length=200, json_schema_extra=CLOSED, description="Variables beside those of the base, or in their place."),
    ] = {}
    resources: Annotated[Resources, Field(description="In place of those of the base.")] = Resources()
    replicas: PreviewReplicas = PreviewReplicas()
    before: Annotated[
        list[Hook], Field(max_length=MAX_HOOKS, description="Jobs that run before the copy is made, one after the other.")
    ] = []
    after: Annotated[
        list[Hook],
        Field(
            max_length=MAX_HOOKS,
            description="Jobs that run when it is deleted and no pod of the copy is left, one after the other.",
        ),
    ] = []
    after_timeout: Annotated[
        str | None,
        StringConstraints(pattern=DURATION_PATTERN, max_length=MAX_DURATION),
        Field(description="How long that may take from the deletion on, in all; default: 10m."),
    ] = None
    ttl: Annotated[
        str | None,
        StringConstraints(pattern=DURATION_PATTERN, max_length=MAX_DURATION),
        Field(description='How long it lives, like "72h"; default: for ever.'),
    ] = None
    expires: Annotated[
        Literal["AfterLastRequest", "AfterCreation"],
        Field(description="What its time to live counts from: each request extends it, or none does."),
    ] = "AfterLastRequest"
    pinned: Annotated[bool, Field(description="Whether changes of the base are not followed.")] = False
    dependencies: Annotated[bool, Field(description="Whether what the base needs is copied as well, each as a preview.")] = False
    copy_namespace: Annotated[
        str | None,
        StringConstraints(pattern=NAMESPACE, max_length=MAX_NAMESPACE),
        Field(description="Another namespace in which the copy lives, which has to permit it; default: that of the base."),
    ] = None

    @model_validator(mode="after")
    def _hooks_differ(self) -> PreviewDocument:
        for hooks in (self.before, self.after):
            if len({hook.name for hook in hooks}) < len(hooks):
                raise ValueError("two hooks have the same name")
        return self


State = Literal["making", "failed", "asleep", "waking", "awake", "deleting", "unknown"]


class Preview(_Model):
    """A preview as it is now."""

    namespace: str
    id: Annotated[str, Field(description="Name of the Preview object, by which calls name it: BASE--NAME.")]
    base: str
    name: Annotated[str, Field(description="What requests choose it by.")]
    uid: str
    copy_namespace: Annotated[str, Field(description="The namespace of its workload.")]
    state: Annotated[
        State,
        Field(
            description="making: hooks run, or the copy is made. failed: it is not made, see reason and message. asleep: no "
            "replica. waking: replicas, and none ready. deleting: hooks after may run, see reason and message. unknown: the "
            "cluster does not tell its replicas now."
        ),
    ]
    url: Annotated[str, Field(description="Empty if it has no host of its own, and is chosen by the header.")]
    urls: list[str]
    ready: Annotated[str, Field(description="True, False or Unknown: whether every interceptor serves it.")]
    reason: str
    message: str
    replicas: RunningReplicas | None
    created: str
    last_used: Annotated[str | None, Field(description="When KEDA last saw requests for it.")]
    expires_at: Annotated[str | None, Field(description="When it will be deleted; null: never.")]
    seconds_left: Annotated[int | None, Field(description="Until then.")]
    document: Annotated[PreviewDocument | None, Field(description="What it was made from; null if no document can say it.")]
    conditions: list[Condition]


class PreviewList(_Model):
    """A page of previews."""

    items: list[Preview]
    next: Annotated[str | None, Field(description="Pass it as `continue` to get the next page; null after the last one.")]
