"""What a request to an API server would do, in the terms of permissions (Kubernetes: RequestInfo of k8s.io/apiserver).

What helm never needs is refused, so that only few kinds of requests have to be understood: no subresources, no prefixes that make
the API server a proxy or a watch, no percent-encoding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from controller.admin.authorization import Need

__all__ = ["Access", "NotForHelm", "accesses_of", "is_discovery"]

_SEGMENT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._:]{0,252})")
_DISCOVERY = re.compile(
    r"/version|/api(/v1)?|/apis(/[a-z0-9.-]+(/v[a-z0-9]+)?)?|/openapi/v3(/api/v1|/apis/[a-z0-9.-]+/v[a-z0-9]+)?"
)
_VERBS = {"POST": ("create",), "PUT": ("update", "create"), "PATCH": ("patch",), "DELETE": ("delete",)}
"""A replacement may create some kinds, for which the API server asks about the writer once more."""
_NO_RESOURCES = ("watch", "proxy", "status", "finalize")
"""What an API server does not take for a resource in this place, whatever the path looks like."""
APPLY = "application/apply-patch"
REFUSED_GROUPS = frozenset({"authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io"})
"""Groups whose objects mean what their writer may do: tokens, reviews, requests for certificates."""


class NotForHelm(Exception):
    """A request of a kind that helm has no need of."""


class Access(msgspec.Struct, frozen=True):
    """One permission, and for which object. Without a namespace for all of them, without a name for all of a kind."""

    need: Need
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"{self.need}{name} " + (f"in namespace {self.namespace}" if self.namespace else "in the whole cluster")


def is_discovery(path: str) -> bool:
    """Whether a path tells which kinds there are and what fields they have, which every user of a cluster may ask."""
    return _DISCOVERY.fullmatch(path) is not None


def accesses_of(method: str, path: str, query: Mapping[str, str], content_type: str = "") -> tuple[Access, ...]:
    """All that a request on an object or a list needs. Raises NotForHelm."""
    group, namespace, resource, name = _parsed(path)
    if group in REFUSED_GROUPS:
        raise NotForHelm(f"nothing of {group}")
    if method == "GET":
        verbs: tuple[str, ...] = ("get",) if name else ("list",)
        if "watch" in query:
            verbs = (*verbs, "watch")
    elif method in _VERBS:
        verbs = _VERBS[method]
        if bool(name) == (method == "POST") and method != "DELETE":
            raise NotForHelm(f"no {method} on {path}")
        if method == "DELETE" and not name:
            verbs = ("deletecollection",)
        if method == "PATCH" and content_type.startswith(APPLY):
            verbs = ("patch", "create")
    else:
        raise NotForHelm(f"no method {method}")
    return tuple(Access(Need(verb, group, resource), namespace, "" if verb == "create" else name) for verb in verbs)


def _parsed(path: str) -> tuple[str, str, str, str]:
    """Group, namespace, resource and name."""
    segments = path.split("/")[1:]
    if not path.startswith("/") or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise NotForHelm(f"no path {path[:200]}")
    if segments[:2] == ["api", "v1"] and len(segments) > 2:
        group, rest = "", segments[2:]
    elif segments[0] == "apis" and len(segments) > 3:
        group, rest = segments[1], segments[3:]
    else:
        raise NotForHelm(f"no path {path[:200]}")
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    if rest[0] in _NO_RESOURCES or len(rest) > 2:
        raise NotForHelm(f"no path {path[:200]}")
    resource, name = rest[0], rest[1] if len(rest) > 1 else ""
    if resource == "namespaces" and not namespace:
        namespace = name  # as the API server has it
    return group, namespace, resource, name
