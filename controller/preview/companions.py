"""Copies of what the base of a Preview needs (dependsOn): for each application a Preview of the same name, which belongs to it.
A part of `Maker`.

So each is made, followed and deleted as every Preview is, beside its base or in another namespace. One that somebody else has
made of the same application and name is used as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from controller.crds import HTTP_SCALED_OBJECTS, PREVIEWS
from controller.preview.manifests import Json, owner_of
from controller.preview.objects import MERGE, read
from controller.preview.resource import Preview, parse_preview
from controller.problem import Problem
from controller.resources import Key
from controller.world import World, path_of
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["MAX_COMPANIONS", "Companions"]

MAX_COMPANIONS = 50
"""Applications that are copied for one Preview, beside that of its base."""
_FOLLOWED = ("ttl", "expires", "pinned")
"""Fields of a Preview that those of its companions follow."""
_MANAGER = (("fieldManager", "weir-previews"),)


class Companions:
    """`around` returns the Previews of the name of one in its namespace, and those that belong to it, as far as known."""

    def __init__(self, api: Api, world: World, around: Callable[[Preview], Iterable[Preview]] = lambda _: ()) -> None:
        self._api = api
        self._world = world
        self._around = around

    async def keep(self, preview: Preview) -> None:
        """Make those that are missing, and delete those that the base no longer needs. Raises Problem and ApiError."""
        around = [*self._around(preview)]
        others = {one.base.name for one in around if one.name == preview.name and not _is_owned(one, preview)}
        needed = [name for name in self._needed(preview) if name not in others] if _asks(preview) else []
        wanted = {name: _manifest(preview, name) for name in needed}
        if len(wanted) > MAX_COMPANIONS:
            why = f"the base needs {len(wanted)} applications, and {MAX_COMPANIONS} are copied at most"
            raise Problem("spec.dependencies", why)
        names = {str(manifest["metadata"]["name"]) for manifest in wanted.values()}
        for mine in [one for one in around if _is_owned(one, preview) and one.meta.name not in names]:
            await self._delete(mine)
        there = {one.meta.name: one for one in around}
        for manifest in wanted.values():
            found = there.get(manifest["metadata"]["name"])
            if found is None:
                await self._make(manifest, preview)
            elif _is_owned(found, preview) and not found.meta.deleting:
                await self._follow(found, manifest)

    def _needed(self, preview: Preview) -> Iterator[str]:
        """The names of the applications that the base needs, also by others: those that there are."""
        seen = {preview.base.name}
        for name in (names := [preview.base.name]):
            found = self._world.get(Key(HTTP_SCALED_OBJECTS.kind, preview.meta.namespace, name))
            if found is None or found.spec is None:
                continue
            if name != preview.base.name:
                yield name
            for each in found.spec.depends_on or ():
                other = each if isinstance(each, str) else each.name
                if other not in seen and "/" not in other:
                    seen.add(other)
                    names.append(other)

    async def _make(self, manifest: Json, preview: Preview) -> None:
        """Raises Problem if another Preview is called so."""
        path, metadata = path_of(PREVIEWS), manifest["metadata"]
        spec = {name: value for name, value in manifest["spec"].items() if value is not None}
        data = await read(self._api, path.path(metadata["namespace"], metadata["name"]))
        if data is not None:
            found = parse_preview(data)
            if not _is_owned(found, preview) and (found.base.name, found.name) != (spec["base"], spec["name"]):
                raise Problem("spec.dependencies", f"Preview {found.meta.name} exists, and is of another application or name")
            return
        try:
            at = path.path(metadata["namespace"])
            await self._api.request("POST", at, query=_MANAGER, body={**manifest, "spec": spec})
        except ApiError as error:
            if error.status != 409:  # it is there by now
                raise

    async def _follow(self, found: Preview, manifest: Json) -> None:
        said = {name: getattr(found.spec, name) for name in _FOLLOWED} if found.spec is not None else {}
        wanted = {name: manifest["spec"][name] for name in _FOLLOWED}
        if said != wanted:
            body = {"metadata": {"uid": found.meta.uid}, "spec": wanted}
            path = path_of(PREVIEWS).path(found.meta.namespace, found.meta.name)
            await self._api.request("PATCH", path, query=_MANAGER, body=body, content_type=MERGE)

    async def _delete(self, found: Preview) -> None:
        if found.meta.deleting:
            return
        try:
            path = path_of(PREVIEWS).path(found.meta.namespace, found.meta.name)
            await self._api.request("DELETE", path, body={"preconditions": {"uid": found.meta.uid}})
        except ApiError as error:
            if error.status not in (404, 409):
                raise


def _asks(preview: Preview) -> bool:
    return preview.spec is not None and preview.spec.dependencies


def _is_owned(found: Preview, preview: Preview) -> bool:
    return any(owner.uid == preview.meta.uid for owner in found.meta.owner_references or ())


def _manifest(preview: Preview, base: str) -> Json:
    followed = {name: getattr(preview.spec, name) for name in _FOLLOWED}
    spec: Json = {"base": base, "name": preview.name, **followed}
    if preview.is_elsewhere:
        spec["namespace"] = preview.place
    return {
        "apiVersion": PREVIEWS.api_version,
        "kind": PREVIEWS.kind,
        "metadata": {
            "name": f"{base}--{preview.name}",
            "namespace": preview.meta.namespace,
            "ownerReferences": [owner_of(preview)],
        },
        "spec": spec,
    }
