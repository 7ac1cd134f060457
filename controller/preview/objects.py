"""Reads the objects of a Preview, and deletes that version of one which was looked at, and no other."""

from __future__ import annotations

import msgspec

from controller.preview.manifests import KINDS, Json
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import Resource as Path

__all__ = ["BACKGROUND", "CHANGED", "FOREGROUND", "JOBS", "MERGE", "WORKLOADS", "delete", "find"]

WORKLOADS = {kind: Path("/apis/apps/v1", f"{kind.lower()}s") for kind in KINDS}
JOBS = Path("/apis/batch/v1", "jobs")
MERGE = "application/merge-patch+json"
BACKGROUND, FOREGROUND = "Background", "Foreground"
"""What belongs to an object is deleted after it, or before it: then it is there until nothing of that is left."""
CHANGED = 409
"""What was looked at is another by now."""


async def find(api: Api, path: str) -> Json | None:
    """One object; None if it is not there. Raises ApiError."""
    try:
        found: Json = msgspec.json.decode(await api.request("GET", path))
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    return found


async def delete(api: Api, path: str, uid: str, version: str, policy: str = BACKGROUND) -> None:
    """Delete this version and no other. Raises ApiError: 409 when it has changed meanwhile; one that is gone is no error."""
    body = {"preconditions": {"uid": uid, "resourceVersion": version}, "propagationPolicy": policy}
    try:
        await api.request("DELETE", path, body=body)
    except ApiError as error:
        if error.status != 404:
            raise
