"""Roles and their bindings: who writes one must have what it grants, or the permission to grant more (escalate, bind).

An API server checks that itself, but of the controller, which may have more than the caller. So it is checked here of the caller,
by the same rules (Kubernetes: RBAC, privilege escalation prevention).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice, product
from typing import Any

from controller.admin.authorization import Need
from controller.admin.releases.access import Access

__all__ = ["RBAC", "Escalation", "ReadRole", "WouldEscalate"]

RBAC = "rbac.authorization.k8s.io"
MAX_PERMISSIONS = 200
"""Permissions of one role that are asked about. Who writes a larger one needs the permission to escalate."""
_ROLES = {"roles": "rolebindings", "clusterroles": "clusterrolebindings"}
_BINDINGS = {binding: role for role, binding in _ROLES.items()}
_RESOURCE_OF_KIND = {"Role": "roles", "ClusterRole": "clusterroles"}
_WRITES = ("create", "update", "patch")

Json = dict[str, Any]
ReadRole = Callable[[str, str, str], Awaitable[Json | None]]
"""Resource, namespace and name of an object of this group; None if there is none."""


class WouldEscalate(Exception):
    """The text says what the caller would need."""


class Escalation:
    """`may` answers for the caller."""

    def __init__(self, may: Callable[[Access], Awaitable[bool]], read: ReadRole) -> None:
        self._may = may
        self._read = read

    async def check(self, access: Access, body: Json) -> None:
        """Check a write that is permitted otherwise. Raises WouldEscalate."""
        if access.need.group != RBAC or access.need.verb not in _WRITES:
            return
        if any(key.startswith("$") for key in body):
            raise WouldEscalate("a patch of a role with directives")
        if access.need.resource in _ROLES:
            await self._check_role(access.need.resource, access.namespace, access.name, body)
        elif access.need.resource in _BINDINGS:
            await self._check_binding(access, body)

    async def _check_role(self, resource: str, namespace: str, name: str, role: Json) -> None:
        if "rules" not in role and "aggregationRule" not in role:
            return
        if await self._may_all(role, namespace):
            return
        needed = Access(Need("escalate", RBAC, resource), namespace, name)
        if not await self._may(needed):
            raise WouldEscalate(f"everything that a role grants which you write, or {needed}")

    async def _check_binding(self, access: Access, body: Json) -> None:
        found = body
        if access.need.verb != "create" and "roleRef" not in found:
            found = await self._read(access.need.resource, access.namespace, access.name) or {}
        reference = found.get("roleRef") or {}
        resource, name = _RESOURCE_OF_KIND.get(str(reference.get("kind"))), str(reference.get("name", ""))
        if resource is None or not name:
            raise WouldEscalate("a binding with a role")
        needed = Access(Need("bind", RBAC, resource), access.namespace, name)
        if await self._may(needed):
            return
        role = await self._read(resource, access.namespace if resource == "roles" else "", name)
        if role is None or not await self._may_all(role, access.namespace):
            raise WouldEscalate(f"everything that the role {name} grants, or {needed}")

    async def _may_all(self, role: Json, namespace: str) -> bool:
        """Whether the caller may all that a role grants."""
        rules = role.get("rules") or ()
        if role.get("aggregationRule") or any(rule.get("nonResourceURLs") for rule in rules):
            return False
        wanted = list(islice(_permissions(rules, namespace), MAX_PERMISSIONS + 1))
        if len(wanted) > MAX_PERMISSIONS:
            return False
        for access in wanted:
            if not await self._may(access):
                return False
        return True


def _permissions(rules: Iterable[Json], namespace: str) -> Iterator[Access]:
    for rule in rules:
        parts = (rule.get("verbs") or (), rule.get("apiGroups") or (), rule.get("resources") or ())
        for verb, group, resource in product(*parts):
            kind, _, subresource = str(resource).partition("/")
            for name in rule.get("resourceNames") or ("",):
                yield Access(Need(str(verb), str(group), kind, subresource), namespace, str(name))
