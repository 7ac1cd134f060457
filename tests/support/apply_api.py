"""An API server in memory that applies objects as kube-apiserver does, and deletes what an owner leaves.

Beside tests/support/memory_api.py: owners of fields, forced and refused conflicts, uids and versions as preconditions, dry runs,
pages of a list, tokens and permissions. Lists of objects with a key are merged by it, others are replaced.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

from fleet.discovery.kubernetes.client import ApiError, Query
from tests.support.memory_api import MemoryApi, copied

__all__ = ["ApplyApi"]

Json = dict[str, Any]
Fields = dict[tuple[str, ...], Any]
"""Values of leaves, by path. An item of a list with a key has the key in its path."""

_KEYS = {"containers": ("name",), "env": ("name",), "ports": ("containerPort", "port"), "ownerReferences": ("uid",)}
_UNOWNED = (("metadata", "uid"), ("metadata", "name"), ("metadata", "namespace"), ("metadata", "resourceVersion"))


class ApplyApi(MemoryApi):
    """`tokens` maps a token to its user, `allowed` says what a user may."""

    def __init__(self) -> None:
        super().__init__()
        self.managers: dict[str, dict[str, Fields]] = {}
        """Path, manager: the fields that it owns, with the values that it gave them."""
        self.tokens: dict[str, Json] = {}
        self.allowed: Callable[[Json], bool] = lambda attributes: True
        self.reviews: list[Json] = []
        """Specs of TokenReviews and SubjectAccessReviews."""
        self.returns_audiences = True
        self._numbers = itertools.count(1)

    async def get(self, path: str, query: Query = ()) -> bytes:
        asked = dict(query)
        refusal = self.refuse("GET", path)
        if refusal is not None:
            raise refusal
        listed = json.loads(await super().get(path, [(name, value) for name, value in query if name.endswith("Selector")]))
        if "limit" in asked:
            token = asked.get("continue", "0")
            if not token.isdecimal():
                raise ApiError("continue key is not valid", status=400)
            begin = int(token)
            items = sorted(listed["items"], key=lambda item: str(item["metadata"]["name"]))
            end = begin + int(asked["limit"])
            listed["items"] = items[begin:end]
            listed["metadata"]["continue"] = str(end) if end < len(items) else ""
        return json.dumps(listed).encode()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Any = None,
        content_type: str = "application/json",
        seconds: float = 30.0,
    ) -> bytes:
        asked = dict(query)
        if path.endswith(("/tokenreviews", "/subjectaccessreviews")):
            refusal = self.refuse(method, path)
            if refusal is not None:
                raise refusal
            return json.dumps(self._review(path, body)).encode()
        if "apply" in content_type or asked.get("dryRun") or (isinstance(body, dict) and body.get("dryRun")):
            refusal = self.refuse(method, path)
            if refusal is not None:
                raise refusal
            if method == "DELETE":
                return json.dumps(self._found(path)).encode()
            if not asked.get("dryRun"):
                self.writes.append((method, path, copied(body)))
            return json.dumps(self._apply(path, body, asked)).encode()
        answer = await super().request(method, path, query=query, body=body, content_type=content_type, seconds=seconds)
        if method == "DELETE" or (method == "PATCH" and path not in self.objects):
            self.managers.pop(path, None)
            self.collect()
        return answer

    # -- apply ----------------------------------------------------------------------------------------------------

    def _apply(self, path: str, body: Json, asked: dict[str, str]) -> Json:
        manager, before = asked["fieldManager"], self.objects.get(path)
        uid = body["metadata"].get("uid")
        if uid is not None and (before is None or before["metadata"]["uid"] != uid):
            raise ApiError("uid mismatch", status=409)
        version = body["metadata"].get("resourceVersion")
        if version is not None and (before is None or before["metadata"]["resourceVersion"] != version):
            raise ApiError("the object has been modified", status=409)
        wanted = _leaves(body)
        others = {name: fields for name, fields in self.managers.get(path, {}).items() if name != manager}
        now = _leaves(before) if before is not None else {}
        conflicts = [
            field
            for field, value in wanted.items()
            if any(field in fields for fields in others.values()) and now.get(field) != value
        ]
        if conflicts and asked.get("force") != "true":
            raise ApiError(f"conflict: {conflicts[0]}", status=409)
        mine = self.managers.get(path, {}).get(manager, {})
        gone = [field for field in mine if field not in wanted and not any(field in fields for fields in others.values())]
        after = _with(now, wanted, gone)
        if body["kind"] == "Deployment":
            after.setdefault(("spec", "replicas"), 1)
        made = _object(after)
        number = next(self._numbers)
        made["metadata"] |= {
            "uid": f"uid-{number}" if before is None else before["metadata"]["uid"],
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": 1 if before is None else before["metadata"]["generation"] + (made.get("spec") != before.get("spec")),
        }
        made["metadata"]["managedFields"] = [{"manager": name} for name in {*others, manager}]
        if asked.get("dryRun"):
            return made
        for field in conflicts:
            for fields in others.values():
                fields.pop(field, None)
        self.managers[path] = {**others, manager: wanted}
        if before is not None:
            same = {key: value for key, value in before.items() if key != "metadata"} == {
                key: value for key, value in made.items() if key != "metadata"
            }
            mutable = ("labels", "annotations", "ownerReferences")
            if same and all(before["metadata"].get(name) == made["metadata"].get(name) for name in mutable):
                return before
        stored = self._store(path, made)
        self.collect()
        return stored

    def changed_by_other(self, path: str, manager: str, change: Json) -> None:
        """A write by somebody else, who then owns these fields."""
        fields = _leaves(change)
        for owned in self.managers.get(path, {}).values():
            for field in fields:
                owned.pop(field, None)
        self.managers.setdefault(path, {})[manager] = fields
        now = _leaves(self.objects[path]) if path in self.objects else {}
        made = _object(_with(now, fields, ()))
        before = self.objects[path]["metadata"] if path in self.objects else {}
        made["metadata"] |= {
            "uid": before.get("uid") or f"uid-{next(self._numbers)}",
            "generation": before.get("generation", 0) + 1,
            "managedFields": [{"manager": name} for name in self.managers[path]],
        }
        self._store(path, made)

    def collect(self) -> None:
        """Delete objects whose owners are gone, or wait for that, and let owners that keep none of them have none."""
        self._part()
        while True:
            uids = {found["metadata"].get("uid") for found in self.objects.values()}
            for path, found in list(self.objects.items()):
                owners = found["metadata"].get("ownerReferences") or ()
                if owners and not any(owner["uid"] in uids for owner in owners):
                    self.drop(path)
                    self.managers.pop(path, None)
                    break
            else:
                return

    def _part(self) -> None:
        for path, found in list(self.objects.items()):
            finalizers = found["metadata"].get("finalizers") or ()
            for policy in set(finalizers) & {"foregroundDeletion", "orphan"} if "deletionTimestamp" in found["metadata"] else ():
                uid = found["metadata"]["uid"]
                for other, one in list(self.objects.items()):
                    owners = one["metadata"].get("ownerReferences") or ()
                    if all(owner["uid"] != uid for owner in owners):
                        continue
                    if policy == "orphan":
                        left = [owner for owner in owners if owner["uid"] != uid]
                        self._store(other, one | {"metadata": one["metadata"] | {"ownerReferences": left}})
                    else:
                        self.drop(other)
                kept = [name for name in finalizers if name != policy]
                if kept:
                    self._store(path, found | {"metadata": found["metadata"] | {"finalizers": kept}})
                else:
                    self.drop(path)

    # -- reviews --------------------------------------------------------------------------------------------------

    def _review(self, path: str, body: Json) -> Json:
        spec = body["spec"]
        self.reviews.append(spec)
        if path.endswith("/subjectaccessreviews"):
            return {"status": {"allowed": self.allowed(spec)}}
        user = self.tokens.get(spec["token"])
        if user is None:
            return {"status": {"user": {}, "error": "unknown token"}}
        return {
            "status": {
                "authenticated": True,
                "user": user,
                "audiences": spec.get("audiences", []) if self.returns_audiences else [],
            }
        }


def _leaves(found: Any, at: tuple[str, ...] = ()) -> Fields:
    if at in _UNOWNED or (len(at) == 2 and at in (("metadata", "managedFields"), ("metadata", "generation"))):
        return {at: found} if at in (("metadata", "name"), ("metadata", "namespace")) else {}
    if isinstance(found, dict) and found:
        return {field: value for name, inner in found.items() for field, value in _leaves(inner, (*at, name)).items()}
    keys = _KEYS.get(at[-1]) if at and isinstance(found, list) else None
    if keys is None or not found:
        return {at: found}
    fields: Fields = {}
    for item in found:
        key = next(item[name] for name in keys if name in item)
        fields |= _leaves(item, (*at, f"[{key}"))
    return fields


def _with(now: Fields, wanted: Fields, gone: Iterable[tuple[str, ...]]) -> Fields:
    after = {field: value for field, value in now.items() if field not in set(gone)}
    for field in wanted:
        # A value replaces what is below it, and what it is below.
        for other in [one for one in after if one[: len(field)] == field or field[: len(one)] == one]:
            if other != field:
                del after[other]
    return after | wanted


def _object(fields: Fields) -> Json:
    root: Json = {}
    for field, value in fields.items():
        at = root
        for part in field[:-1]:
            at = at.setdefault(part, {})
        at[field[-1]] = copied(value)
    made: Json = _listed(root)
    return made


def _listed(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    inner = {name: _listed(value) for name, value in found.items()}
    if inner and all(name.startswith("[") for name in inner):
        return list(inner.values())
    return inner
