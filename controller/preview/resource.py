"""Preview objects, parsed once into frozen values. Pure. Parsing does not fail for an invalid object: it has a problem then."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from controller.autoscalers import MAX_NAME
from controller.crds import HTTP_SCALED_OBJECTS, PREVIEWS, Kind
from controller.limits import duration
from controller.previews import check_preview_name
from controller.problem import Problem
from controller.resources import Key, ObjectMeta
from controller.schema.common import Condition
from controller.schema.preview import MAX_NAMESPACE, NAMESPACE, Hook, Overrides, PreviewSpec, PreviewStatus
from fleet.schedules.windows import DAY

__all__ = ["AFTER_TIMEOUT", "FINALIZER", "MAX_TTL", "Preview", "parse_preview"]

MAX_TTL = 3650 * DAY
"""Seconds. What lives for longer lives for ever."""
FINALIZER = "weir.dev/after"
"""Of a Preview with hooks after: it is there until they have ended."""
AFTER_TIMEOUT = 600.0
"""Seconds for all hooks after, where nothing else is said."""
SHORTEST_AFTER_TIMEOUT, LONGEST_AFTER_TIMEOUT = 1.0, DAY
"""Seconds. A namespace that is deleted waits for so long as well."""


MAX_SPEC_BYTES = 64 << 10
"""As JSON. All Previews are in memory, and what hooks say takes many times as much there."""


class _Parts(msgspec.Struct):
    metadata: msgspec.Raw
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: msgspec.Raw = msgspec.Raw(b"{}")


class _Placed(msgspec.Struct):
    namespace: Annotated[str, Meta(pattern=NAMESPACE, max_length=MAX_NAMESPACE)] | None = None


class Preview(msgspec.Struct, frozen=True):
    """A Preview: its spec or its problem, and its current status."""

    meta: ObjectMeta
    spec: PreviewSpec | None
    problem: Problem | None
    status: PreviewStatus
    ttl: float | None = None
    """Seconds."""
    after_timeout: float = AFTER_TIMEOUT
    """Seconds."""
    version: str = ""
    """Of the object as it was read."""
    said_namespace: str = ""
    """The namespace that it names for the copy, also where the rest of it is not valid."""

    @property
    def kind(self) -> Kind:
        return PREVIEWS

    @property
    def key(self) -> Key:
        return Key(PREVIEWS.kind, self.meta.namespace, self.meta.name)

    @property
    def name(self) -> str:
        """The name that requests choose it by."""
        return self.meta.name if self.spec is None or self.spec.name is None else self.spec.name

    @property
    def base(self) -> Key:
        return Key(HTTP_SCALED_OBJECTS.kind, self.meta.namespace, "" if self.spec is None else self.spec.base)

    @property
    def copy(self) -> str:
        """Name of all that is made for it."""
        return f"{self.base.name}--{self.name}"

    @property
    def place(self) -> str:
        """The namespace of all that is made for it, but Jobs."""
        return self.said_namespace or self.meta.namespace

    @property
    def is_elsewhere(self) -> bool:
        """Whether that is another one than its own."""
        return self.place != self.meta.namespace

    @property
    def is_placed(self) -> bool:
        """Whether what is called as its copy may be looked at: beside the Preview, or in a namespace that has permitted it."""
        return not self.is_elsewhere or self.status.placed == f"{self.place}/{self.copy}"

    @property
    def overrides(self) -> Overrides:
        said = None if self.spec is None else self.spec.overrides
        return Overrides() if said is None else said

    @property
    def after(self) -> tuple[Hook, ...]:
        """The hooks that run when it is deleted."""
        return () if self.spec is None else self.spec.after or ()

    @property
    def is_held(self) -> bool:
        """Whether it is there until its hooks after have ended."""
        return FINALIZER in (self.meta.finalizers or ())

    @property
    def conditions(self) -> dict[str, Condition]:
        return {condition.type: condition for condition in self.status.conditions}


def parse_preview(data: bytes | msgspec.Raw) -> Preview:
    """A Preview from the API server's JSON. Raises ValueError when it is not a Kubernetes object at all."""
    parts = msgspec.json.decode(data, type=_Parts)
    raw: dict[str, Any] = msgspec.json.decode(parts.metadata)
    meta, version = msgspec.convert(raw, ObjectMeta), str(raw.get("resourceVersion", ""))
    try:
        status = msgspec.json.decode(parts.status, type=PreviewStatus | None) or PreviewStatus()
    except msgspec.ValidationError:  # another version wrote it: it is written anew
        status = PreviewStatus()
    said = _namespace(parts.spec)
    if len(bytes(parts.spec)) > MAX_SPEC_BYTES:
        problem = Problem("spec", f"is larger than {MAX_SPEC_BYTES >> 10} KiB")
        return Preview(meta, None, problem, status, version=version, said_namespace=said)
    try:
        spec = msgspec.convert(msgspec.json.decode(parts.spec) or {}, PreviewSpec)
    except msgspec.ValidationError as error:
        return Preview(meta, None, Problem.of(error), status, version=version, said_namespace=said)
    preview = Preview(meta, spec, None, status, version=version, said_namespace=said)
    try:
        check_preview_name(preview.name, "spec.name" if spec.name is not None else "metadata.name")
        if len(preview.copy) > MAX_NAME:
            raise Problem("spec.name", f"{preview.copy} is longer than {MAX_NAME} characters, and the Service would be called so")
        ttl = duration("ttl", spec.ttl)
        if ttl is not None and ttl > MAX_TTL:
            raise Problem("spec.ttl", f"is longer than {MAX_TTL / DAY:g} days")
        return msgspec.structs.replace(preview, ttl=ttl, after_timeout=_after_timeout(spec))
    except Problem as problem:
        return msgspec.structs.replace(preview, problem=problem)


def _after_timeout(spec: PreviewSpec) -> float:
    """Raises Problem."""
    found = duration("afterTimeout", spec.after_timeout)
    if found is None:
        return AFTER_TIMEOUT
    if not SHORTEST_AFTER_TIMEOUT <= found <= LONGEST_AFTER_TIMEOUT:
        raise Problem(
            "spec.afterTimeout", f"is not from {SHORTEST_AFTER_TIMEOUT:g} second to {LONGEST_AFTER_TIMEOUT / DAY:g} day"
        )
    return found


def _namespace(spec: msgspec.Raw) -> str:
    """That of a spec which may not be valid otherwise."""
    try:
        return msgspec.json.decode(spec, type=_Placed).namespace or ""
    except msgspec.ValidationError:
        return ""
