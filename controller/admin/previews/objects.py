"""From the document of a preview to its Preview object and back, and what is said of one. The time is passed in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from controller.admin.documents import Condition, Fault, RunningReplicas
from controller.admin.objects import MANAGED, MANAGED_BY, Json
from controller.admin.previews.documents import Preview, PreviewDocument, State
from controller.admin.problems import Refused
from controller.admin.views import conditions_of
from controller.crds import PREVIEWS
from controller.durations import seconds
from controller.preview.elsewhere import NO_NAMESPACE, NOT_FOUND, NOT_PERMITTED
from controller.preview.life import life_of, read_time, write_time
from controller.preview.manifests import is_owned
from controller.preview.resource import Preview as Parsed
from controller.preview.resource import parse_preview
from controller.status import READY
from fleet.discovery.kubernetes.objects import Resource as Path

__all__ = [
    "FAILED",
    "HOPELESS",
    "PREVIEWS_PATH",
    "Around",
    "check_document",
    "document_of",
    "etag_of_preview",
    "is_awake",
    "manifest_of",
    "object_name",
    "parsed",
    "same",
    "shown",
]

PREVIEWS_PATH = Path(f"/apis/{PREVIEWS.api_version}", PREVIEWS.plural)

HOPELESS = frozenset({"Invalid", "CannotBeCopied", "HookFailed", "NameTaken", NOT_PERMITTED, NO_NAMESPACE, NOT_FOUND})
"""Reasons of Ready that only somebody can change."""
FAILED = HOPELESS | {"NoBase", "Refused"}
"""Reasons for which a copy is not made."""
_FIELDS = {name: name for name in ("base", "name", "before", "after", "ttl", "expires", "pinned", "dependencies")} | {
    "after_timeout": "afterTimeout",
    "copy_namespace": "namespace",
}
"""Of the spec, by what a document calls them."""
_POINTERS = (
    ("spec.overrides.env", "/environment"),
    ("spec.overrides.", "/"),
    ("spec.namespace", "/copy_namespace"),
    ("spec.afterTimeout", "/after_timeout"),
    ("spec.", "/"),
    ("metadata.name", "/name"),
)


class Around(msgspec.Struct, frozen=True):
    """What is known of previews beside their objects."""

    workloads: Sequence[Json] | None = None
    """None if the cluster does not tell."""
    last_active: Mapping[str, str] = {}
    """When KEDA last saw each copy active, by its "namespace/name"."""
    paths: Mapping[str, Sequence[str]] = {}
    """Prefixes of the paths of bases, by their names."""
    url: str = "http://{host}"
    now: float = 0.0
    """Seconds since the epoch."""


def object_name(base: str, name: str) -> str:
    """Of the Preview object that is made by a call: several bases may have previews of one name. The copy is called so, too."""
    return f"{base}--{name}"


def manifest_of(document: PreviewDocument, namespace: str) -> Json:
    """The Preview object of a document."""
    given = document.model_dump(exclude_defaults=True)
    overrides: Json = {name: given[name] for name in ("container", "image", "replicas") if name in given}
    overrides |= {"env": given["environment"]} if document.environment else {}
    resources = {name: value for name, value in given.get("resources", {}).items() if value}
    overrides |= {"resources": resources} if resources else {}
    spec = {field: given[name] for name, field in _FIELDS.items() if name in given}
    return {
        "apiVersion": PREVIEWS.api_version,
        "kind": PREVIEWS.kind,
        "metadata": {
            "name": object_name(document.base, document.name),
            "namespace": namespace,
            "labels": {MANAGED_BY: MANAGED},
        },
        "spec": {**spec, **({"overrides": overrides} if overrides else {})},
    }


def check_document(document: PreviewDocument, namespace: str) -> None:
    """Raise Refused for what the controller would find invalid."""
    preview = parsed(manifest_of(document, namespace))
    if preview.problem is not None:
        field, detail = preview.problem.field, preview.problem.reason
        found = next(((start, pointer) for start, pointer in _POINTERS if field.startswith(start)), (field, ""))
        pointer = found[1] + field.removeprefix(found[0]).replace(".", "/")
        raise Refused(422, "invalid-document", f"{pointer}: {detail}", errors=[Fault(detail=detail, pointer=pointer)])


def document_of(found: Json) -> PreviewDocument | None:
    """The document that an object says; None when it says something that no document can."""
    spec = found.get("spec") or {}
    overrides = spec.get("overrides") or {}
    try:
        return PreviewDocument.model_validate(
            {
                "name": found["metadata"]["name"],
                **{name: spec[field] for name, field in _FIELDS.items() if field in spec},
                **{name: overrides[name] for name in ("container", "image", "replicas", "resources") if name in overrides},
                **({"environment": overrides["env"]} if "env" in overrides else {}),
            }
        )
    except (ValueError, LookupError, TypeError, AttributeError):  # pydantic's error is a ValueError
        return None


def same(one: PreviewDocument, other: PreviewDocument) -> bool:
    """Whether two documents mean the same: 72h is 4320m."""
    return _comparable(one) == _comparable(other)


def _comparable(document: PreviewDocument) -> Json:
    times = {"ttl": document.ttl, "after_timeout": document.after_timeout}
    return document.model_dump() | {name: None if text is None else seconds(text) for name, text in times.items()}


def parsed(found: Json) -> Parsed:
    return parse_preview(msgspec.json.encode(found))


def etag_of_preview(found: Json) -> str:
    """Of what an update can change: its spec."""
    content = [found["metadata"].get("uid"), found.get("spec")]
    return f'"{hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:32]}"'


def shown(found: Json, around: Around) -> Preview:
    """What is said of a Preview."""
    preview, metadata = parsed(found), found["metadata"]
    conditions = conditions_of(found)
    ready = next((one for one in conditions if one.type == READY), Condition(type=READY, status="Unknown", reason="", message=""))
    replicas = _replicas(preview, around.workloads)
    last = around.last_active.get(f"{preview.place}/{preview.copy}", "") if preview.is_placed else ""
    life = life_of(preview, read_time(last))
    left = life.left(around.now)
    urls = [*_urls(preview, around)]
    return Preview(
        namespace=metadata["namespace"],
        id=metadata["name"],
        base=preview.base.name,
        name=preview.name,
        uid=str(metadata.get("uid", "")),
        copy_namespace=preview.place,
        state=_state(preview, ready.reason, replicas, is_known=around.workloads is not None),
        url=urls[0] if urls else "",
        urls=urls,
        ready=ready.status,
        reason=ready.reason,
        message=ready.message,
        replicas=replicas,
        created=metadata.get("creationTimestamp") or "",
        last_used=write_time(life.last_used) or None,
        expires_at=write_time(life.ends) or None,
        seconds_left=None if left is None else int(left),
        document=document_of(found),
        conditions=conditions,
    )


def _state(preview: Parsed, reason: str, replicas: RunningReplicas | None, *, is_known: bool) -> State:
    if preview.meta.deleting:
        return "deleting"
    if replicas is not None:
        return "asleep" if not replicas.wanted else "awake" if replicas.ready else "waking"
    if reason in FAILED:
        return "failed"
    return "making" if is_known else "unknown"


def _replicas(preview: Parsed, workloads: Sequence[Json] | None) -> RunningReplicas | None:
    """Of its workload; None if there is none."""
    found = _workload_of(preview, workloads or ())
    if found is None:
        return None
    wanted, ready = (found.get("spec") or {}).get("replicas", 1), (found.get("status") or {}).get("readyReplicas", 0)
    return RunningReplicas(wanted=int(wanted), ready=int(ready))


def _workload_of(preview: Parsed, workloads: Sequence[Json]) -> Json | None:
    for one in workloads:
        meta = one["metadata"]
        if (meta["namespace"], meta["name"]) == (preview.place, preview.copy) and is_owned(one, preview):
            return one
    return None


def is_awake(found: Json, workloads: Sequence[Json]) -> bool:
    """Whether replicas of what it says now are ready, and none of what it has said before is left."""
    preview = parsed(found)
    workload = _workload_of(preview, workloads)
    if workload is None:
        return False
    status: Json = workload.get("status") or {}
    seen = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return bool(seen and counts[0] == counts[1] > 0 and counts[2] > 0)


def _urls(preview: Parsed, around: Around) -> Iterable[str]:
    paths: Any = around.paths.get(preview.base.name) or ("/",)
    for host in filter(None, preview.status.hosts.split(", ")):
        for path in paths:
            yield around.url.replace("{host}", host) + path
