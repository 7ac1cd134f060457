"""Whether a caller may do what a call would do: asks Kubernetes (SubjectAccessReview) about the very resources and verbs, in the
namespace of the call. Nobody can do by this API what kubectl would refuse; nobody is impersonated."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from controller.admin.authentication import REVIEW_SECONDS, Caller
from controller.admin.problems import Refused
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["NEEDS", "Authorizer", "Need"]

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Need(msgspec.Struct, frozen=True):
    """A permission."""

    verb: str
    group: str
    resource: str
    subresource: str = ""

    def __str__(self) -> str:
        resource = ".".join(part for part in (self.resource, self.group) if part)
        return f"{self.verb} {resource}" + (f"/{self.subresource}" if self.subresource else "")


def _all(*verbs: str) -> tuple[Need, ...]:
    resources = (("apps", "deployments"), ("", "services"), ("http.keda.sh", "httpscaledobjects"))
    return tuple(Need(verb, group, resource) for verb in verbs for group, resource in resources)


NEEDS: Mapping[str, tuple[Need, ...]] = {
    "list": (Need("list", "http.keda.sh", "httpscaledobjects"),),
    "get": _all("get"),
    "create": _all("create"),
    "replace": _all("create", "patch"),
    "patch": _all("get", "patch"),
    "delete": _all("delete"),
    "wake": (*_all("get"), Need("patch", "http.keda.sh", "httpscaledobjects")),
    "sleep": (*_all("get"), Need("patch", "http.keda.sh", "httpscaledobjects")),
    "lease": (Need("create", "http.keda.sh", "httpscaledobjects"),),
    "release": (Need("delete", "http.keda.sh", "httpscaledobjects"),),
    "rule": tuple(Need(verb, "http.keda.sh", "interceptorroutes") for verb in ("create", "patch")),
    "list previews": (Need("list", "weir.dev", "previews"),),
    "get preview": (Need("get", "weir.dev", "previews"),),
    "create preview": (Need("create", "weir.dev", "previews"),),
    "replace preview": tuple(Need(verb, "weir.dev", "previews") for verb in ("create", "update")),
    "extend preview": (Need("patch", "weir.dev", "previews"),),
    "delete preview": (Need("delete", "weir.dev", "previews"),),
    "hook preview": (Need("create", "batch", "jobs"),),
    "wake preview": (Need("patch", "http.keda.sh", "httpscaledobjects"),),
    "logs": (
        Need("get", "http.keda.sh", "httpscaledobjects"),
        Need("list", "", "pods"),
        Need("get", "", "pods", "log"),
    ),
}
"""What each action needs: what kubectl would need for it. Who replaces an application may have to make an object of it anew, and
whoever may create one may name ports in it."""


class _Status(msgspec.Struct, frozen=True):
    allowed: bool = False


class _Review(msgspec.Struct, frozen=True):
    status: _Status = _Status()


class Authorizer:
    """Remembers nothing: a permission that is taken away is gone at once."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def check(self, caller: Caller, action: str, namespace: str, name: str = "") -> None:
        """Raises Refused: 403 with what is missing, or 503."""
        needs = NEEDS[action]
        allowed = await asyncio.gather(*(self.may(caller, need, namespace, name) for need in needs))
        missing: Sequence[Need] = [need for need, is_allowed in zip(needs, allowed, strict=True) if not is_allowed]
        if missing:
            detail = f"{caller.username} may not in namespace {namespace}: {', '.join(map(str, missing))}"
            raise Refused(403, "forbidden", detail)

    async def may(self, caller: Caller, need: Need, namespace: str, name: str) -> bool:
        """One review. Without a namespace it is about all of them, or about what belongs to none. Raises Refused: 503."""
        attributes = {
            "namespace": namespace,
            "name": "" if need.verb == "create" else name,
            "verb": need.verb,
            "group": need.group,
            "resource": need.resource,
            "subresource": need.subresource,
        }
        spec = {
            "user": caller.username,
            "uid": caller.uid,
            "groups": list(caller.groups),
            "extra": caller.extra,
            "resourceAttributes": attributes,
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        try:
            answer = await self._api.request("POST", PATH, body=body, seconds=REVIEW_SECONDS)
            return msgspec.json.decode(answer, type=_Review).status.allowed
        except (ApiError, ValueError) as error:
            detail = f"permissions cannot be reviewed now: {error}"
            raise Refused(503, "cluster-unavailable", detail, headers={"Retry-After": "2"}) from error
