"""The objects that a chart makes, and what their writer needs: one permission for each verb and object. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from controller.admin.authorization import Need
from controller.admin.problems import Refused
from controller.admin.releases.access import Access
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["Rendered", "accesses_of_objects", "accesses_of_storage", "read_rendered"]

_PER_OBJECT = {False: ("get", "create", "delete"), True: ("get", "create", "patch", "delete")}
"""Verbs of an installation and of an upgrade. Deleting is the way back."""
_WAITED_FOR = {"Deployment": Need("list", "apps", "replicasets"), "Job": Need("watch", "batch", "jobs")}
"""What helm asks about objects of a kind to see that they are ready."""


class Rendered(msgspec.Struct, frozen=True, rename={"api_version": "apiVersion"}):
    """An object as a chart makes it, and of some kinds a little more."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    hook: str = ""
    selector: dict[str, str] = {}
    ports: list[tuple[str, str]] = []
    """Name and number."""
    labels: dict[str, str] = {}
    """Of the pods."""
    group: str = ""
    scope: str = ""
    plural: str = ""
    defines: str = ""


class _Answer(msgspec.Struct, frozen=True):
    objects: list[Rendered] = []
    error: str = ""


class _Kind(msgspec.Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool


class _Kinds(msgspec.Struct, frozen=True):
    resources: list[_Kind] = []


def read_rendered(answer: bytes) -> list[Rendered]:
    """The reader's answer. Raises Refused: 422."""
    read = msgspec.json.decode(answer, type=_Answer)
    if read.error:
        raise Refused(422, "invalid-chart", read.error)
    for found in read.objects:
        if not found.api_version or not found.kind or not found.name:
            raise Refused(
                422, "invalid-chart", f"the chart makes an object without apiVersion, kind or name: {found.kind} {found.name}"
            )
    return read.objects


def accesses_of_storage(namespace: str, name: str, *, writes: bool) -> list[Access]:
    """Permissions on the Secrets in which helm keeps revisions."""
    verbs = ("get", "list", "create", "update", "delete") if writes else ("get", "list")
    return [Access(Need(verb, "", "secrets"), namespace) for verb in verbs]


async def accesses_of_objects(api: Api, objects: Iterable[Rendered], namespace: str, *, upgrade: bool) -> list[Access]:
    """Permissions on everything that a chart makes. Raises Refused for kinds that the cluster does not have, and ApiError."""
    objects = list(objects)
    defined = {(crd.group, crd.defines): (crd.plural, crd.scope == "Namespaced") for crd in objects if crd.plural}
    known: dict[str, Mapping[str, tuple[str, bool]]] = {}
    wanted: dict[Access, None] = {}
    for found in objects:
        group, _, version = found.api_version.rpartition("/")
        if (group, found.kind) in defined:
            resource, namespaced = defined[group, found.kind]
        else:
            if found.api_version not in known:
                known[found.api_version] = await _kinds(api, group, version)
            if found.kind not in known[found.api_version]:
                raise Refused(
                    422,
                    "invalid-chart",
                    f"the chart makes a {found.kind} of {found.api_version}, which the cluster does not have",
                )
            resource, namespaced = known[found.api_version][found.kind]
        within = (found.namespace or namespace) if namespaced else ""
        for verb in _PER_OBJECT[upgrade]:
            wanted[Access(Need(verb, group, resource), within, "" if verb == "create" else found.name)] = None
        if found.kind in _WAITED_FOR:
            wanted[Access(_WAITED_FOR[found.kind], within)] = None
    return list(wanted)


async def _kinds(api: Api, group: str, version: str) -> dict[str, tuple[str, bool]]:
    """By kind: its resource, and whether it belongs to a namespace. Empty for a version that there is not."""
    segments = [group, version] if group else [version]
    if not all(part.replace(".", "").replace("-", "").isalnum() and part.isascii() for part in segments):
        return {}
    path = f"/apis/{group}/{version}" if group else f"/api/{version}"
    try:
        answer: Any = msgspec.json.decode(await api.request("GET", path), type=_Kinds)
    except ApiError as error:
        if error.status == 404:
            return {}
        raise
    return {kind.kind: (kind.name, kind.namespaced) for kind in answer.resources if "/" not in kind.name}
