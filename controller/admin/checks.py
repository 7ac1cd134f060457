"""What is asked of the objects of an application before and after a change: whether the name is free, whether it is the version
that the caller means, whether there is a way back."""

from __future__ import annotations

import hashlib

import msgspec

from controller.admin.change import ChangeFailed, Unreadable, before_of
from controller.admin.cluster import Foreign
from controller.admin.documents import Document
from controller.admin.faults import faults_of
from controller.admin.objects import Json, Live, document_of
from controller.admin.problems import Refused, of_api_error
from controller.crds import HTTP_SCALED_OBJECTS
from controller.scaledobject import SKIP

__all__ = [
    "asleep",
    "check_is_free",
    "check_match",
    "checked",
    "etag_of",
    "is_ending",
    "is_of",
    "kept",
    "refused_change",
    "skips",
]


def is_ending(live: Live) -> bool:
    """Whether objects of this name are being deleted, or are about to be because their owner was."""
    name = next((found["metadata"]["name"] for found in live.objects.values() if found is not None), "")
    return any(
        "deletionTimestamp" in found["metadata"] or _is_orphan(found, name, live.uid)
        for found in live.objects.values()
        if found is not None
    )


def check_is_free(live: Live, namespace: str, name: str) -> None:
    """Raise Refused when the name is another one's, or is about to become free."""
    if is_ending(live):
        detail = f"app {namespace}/{name} is being deleted"
        raise Refused(409, "deleting", detail, headers={"Retry-After": "2"})
    if (kind := live.foreign) is not None:
        raise Refused(409, "name-taken", f"{kind} {name} exists, and was not made by this API: choose another name")


def check_match(live: Live, if_match: str | None) -> None:
    """RFC 9110 section 13.1.1."""
    if if_match is None:
        return
    current = etag_of(live) if live.is_ours else None
    if if_match.strip() == "*":
        matches = live.is_ours
    else:
        matches = current is not None and current in [tag.strip() for tag in if_match.split(",")]
    if not matches:
        headers = {"ETag": current} if current is not None else {}
        raise Refused(412, "changed", "the app is not what If-Match names: get it again", headers=headers)


def etag_of(live: Live) -> str:
    """A strong validator of what an update can change. Versions of the objects change with their status and with each scaling,
    so it is made of the document and the uids."""
    document = document_of(live)
    uids = [found["metadata"]["uid"] if found is not None else "" for found in live.objects.values()]
    content = document.model_dump_json() if document is not None else str(live.uid)
    return f'"{hashlib.sha256(msgspec.json.encode([*uids, content])).hexdigest()[:32]}"'


def checked(document: Document, namespace: str) -> Document:
    """The document, if the routing table would take it. Raises Refused."""
    if faults := faults_of(document, namespace):
        raise Refused(422, "invalid-document", faults[0].detail, errors=faults)
    return document


def kept(live: Live) -> dict[str, Json | None]:
    try:
        return before_of(live)
    except Unreadable as error:
        detail = "the app's objects were changed to what no document can say, so there would be no way back: delete the app"
        raise Refused(409, "unreadable", detail) from error


def asleep(kind: str, manifest: Json) -> Json:
    return manifest | {"spec": manifest["spec"] | {"replicas": 0}} if kind == "Deployment" else manifest


def skips(owner: Json) -> bool:
    return (owner["metadata"].get("annotations") or {}).get(SKIP) == "true"


def is_of(found: Json, uid: str) -> bool:
    """Whether an object is the owner with this uid, or is owned by it."""
    metadata = found["metadata"]
    return metadata.get("uid") == uid or any(owner.get("uid") == uid for owner in metadata.get("ownerReferences") or ())


def refused_change(failed: ChangeFailed, *, rolled_back: bool) -> Refused:
    cause = failed.cause
    if isinstance(cause, Foreign):
        detail = f"{cause.kind} of this name was made by somebody else in the meantime"
        return Refused(409, "name-taken", detail, step=failed.step, rolled_back=rolled_back)
    if isinstance(cause, TimeoutError):
        headers = {"Retry-After": "5"}
        return Refused(503, "too-slow", str(failed), step=failed.step, rolled_back=rolled_back, headers=headers)
    refused = of_api_error(cause, step=failed.step, rolled_back=rolled_back)
    # Somebody has deleted an object in the middle of the change: the caller has asked for nothing that does not exist.
    return refused if refused.status != 404 else Refused(409, "conflict", str(cause), step=failed.step, rolled_back=rolled_back)


def _is_orphan(found: Json, name: str, uid: str) -> bool:
    """Whether the owner is an application of this name that is no more."""
    owners = found["metadata"].get("ownerReferences") or ()
    return any((owner["kind"], owner["name"]) == (HTTP_SCALED_OBJECTS.kind, name) and owner["uid"] != uid for owner in owners)
