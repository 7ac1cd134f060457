"""Preview, weir.dev/v1alpha1: a copy of an HTTPScaledObject's workload and Service, for the requests that name it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from controller.schema.common import BY_NAME, LIST_OF_CONDITIONS, Condition, Duration, Name, Natural, Positive, Rule
from controller.schema.previews import PreviewName

__all__ = ["Hook", "Overrides", "PreviewReplicas", "PreviewSpec", "PreviewStatus"]

Amounts = dict[str, str]
"""Quantities by resource."""


class Resources(msgspec.Struct, frozen=True):
    """What a container asks for, in place of what the base's asks for."""

    requests: Annotated[Amounts | None, Meta(description="By resource: cpu, memory.")] = None
    limits: Annotated[Amounts | None, Meta(description="By resource.")] = None


class PreviewReplicas(msgspec.Struct, frozen=True):
    """Bounds of the number of replicas."""

    min: Annotated[Natural, Meta(description="Fewest replicas; with 0 it sleeps.")] = 0
    max: Annotated[Positive | None, Meta(description="Most replicas; those of the base without it.")] = None


class Overrides(msgspec.Struct, frozen=True):
    """What is different about the copy."""

    container: Annotated[Name | None, Meta(description="The container that this is about; the first one without it.")] = None
    image: Annotated[Name | None, Meta(description="Its image.")] = None
    env: Annotated[
        dict[str, str] | None, Meta(description="Its environment variables, beside those of the base or in place of them.")
    ] = None
    resources: Annotated[Resources | None, Meta(description="Its resources.")] = None
    replicas: Annotated[PreviewReplicas | None, Meta(description="Bounds of the number of replicas.")] = None


_AS_IT_IS: Final = {"additionalProperties": None, "x-kubernetes-preserve-unknown-fields": True}
MAX_HOOKS: Final = 10


class Hook(msgspec.Struct, frozen=True):
    """A Job that runs once: before the copy is made, or when the Preview is deleted."""

    name: Annotated[PreviewName, Meta(description="Its name; the Job is called by those of the copy and of the hook.")]
    job: Annotated[
        dict[str, Any],
        Meta(
            description="The spec of the Job (batch/v1). Its containers get WEIR_PREVIEW and WEIR_PREVIEW_OF, the names of the "
            "preview and of the base.",
            extra_json_schema=_AS_IT_IS,
        ),
    ]


NAMESPACE: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
MAX_NAMESPACE: Final = 63
_STAYS_THERE: Final = Rule(
    "has(self.__namespace__) == has(oldSelf.__namespace__) && "
    "(!has(self.__namespace__) || self.__namespace__ == oldSelf.__namespace__)",  # namespace is a word of CEL
    "namespace cannot be changed: delete the Preview, and make another one",
)
_STAYS_WHAT_IT_IS: Final = Rule(
    "self.base == oldSelf.base && has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
    "base and name cannot be changed: delete the Preview, and make another one",
)


class PreviewSpec(msgspec.Struct, frozen=True, rename="camel"):
    """A copy of a workload, its Service and its HTTPScaledObject, which sleeps at zero and goes when its time is over."""

    cel: ClassVar[tuple[Rule, ...]] = (_STAYS_THERE, _STAYS_WHAT_IT_IS)

    base: Annotated[Name, Meta(description="The HTTPScaledObject in the same namespace whose workload is copied.")]
    name: Annotated[PreviewName | None, Meta(description="Name that requests choose it by; that of the object without it.")] = (
        None
    )
    overrides: Annotated[Overrides | None, Meta(description="What is different about the copy.")] = None
    before: Annotated[
        Annotated[tuple[Hook, ...], Meta(max_length=MAX_HOOKS)] | None,
        Meta(description="Jobs that run before the copy is made, one after the other: to make a database, for example."),
        Meta(extra_json_schema=BY_NAME),
    ] = None
    after: Annotated[
        Annotated[tuple[Hook, ...], Meta(max_length=MAX_HOOKS)] | None,
        Meta(
            description="Jobs that run when the Preview is deleted and no pod of the copy is left, one after the other: to drop "
            "the database, for example. The object is there until they have ended."
        ),
        Meta(extra_json_schema=BY_NAME),
    ] = None
    after_timeout: Annotated[
        Duration | None,
        Meta(description="How long that may take from the deletion on, in all; 10m without it. Then the Preview goes without."),
    ] = None
    ttl: Annotated[Duration | None, Meta(description="How long it lives; for ever without it.")] = None
    expires: Annotated[
        Literal["AfterLastRequest", "AfterCreation"],
        Meta(description="What its time to live counts from: each request extends it, or none does."),
    ] = "AfterLastRequest"
    pinned: Annotated[bool, Meta(description="Whether changes of the base are not followed.")] = False
    dependencies: Annotated[
        bool,
        Meta(description="Whether what the base needs (dependsOn) has previews of this name as well, each a Preview."),
    ] = False
    namespace: Annotated[
        Annotated[str, Meta(pattern=NAMESPACE, min_length=1, max_length=MAX_NAMESPACE)] | None,
        Meta(
            description="Another namespace in which the copy lives, with copies of the ConfigMaps and Secrets that its pods "
            "read. Both sides have to permit that."
        ),
    ] = None


class PreviewStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the controller found."""

    name: Annotated[str, Meta(description="Name that requests choose it by.")] = ""
    copy: Annotated[str, Meta(description="Name of the workload, the Service and the HTTPScaledObject that were made.")] = ""
    placed: Annotated[
        str,
        Meta(
            description="The HTTPScaledObject of the copy, NAMESPACE/NAME, if it is in another namespace: requests are routed "
            "there as long as this says so."
        ),
    ] = ""
    hosts: Annotated[str, Meta(description="Its hosts, for people.")] = ""
    hooks_done: Annotated[tuple[str, ...], Meta(description="Hooks whose Jobs have succeeded: they do not run again.")] = ()
    account: Annotated[
        str,
        Meta(description="ServiceAccount of the base's pods, the only one that hooks after may have. For when the base is gone."),
    ] = ""
    after_done: Annotated[tuple[str, ...], Meta(description="Hooks after whose Jobs have succeeded.")] = ()
    after_failed: Annotated[dict[str, str], Meta(description="Hooks after that have failed, each with the reason.")] = {}
    last_used: Annotated[str, Meta(description="When KEDA last saw it active.", extra_json_schema={"format": "date-time"})] = ""
    expires_at: Annotated[str, Meta(description="When it will be deleted.", extra_json_schema={"format": "date-time"})] = ""
    observed_generation: Annotated[
        int, Meta(extra_json_schema={"format": "int64"}, description="Generation of the spec that this is about.")
    ] = 0
    conditions: Annotated[tuple[Condition, ...], Meta(description="By type.", extra_json_schema=LIST_OF_CONDITIONS)] = ()
