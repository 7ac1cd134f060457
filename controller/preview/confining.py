"""What of a pod is more than any pod of a namespace may have: its place on a machine, its privileges, and whom it acts for. Pure.

For pods that the controller makes for people who need not have the permission to make them. It refuses what the level `baseline`
of the Pod Security Standards refuses, and all added capabilities, because the namespace may not enforce any level.
"""

from __future__ import annotations

from typing import Any

__all__ = ["beyond", "unconfined"]

Json = dict[str, Any]

_OF_MACHINE = ("hostNetwork", "hostPID", "hostIPC", "nodeName", "ephemeralContainers")
_CONFINED = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
"""Types of SELinux in which a container is confined."""
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
"""Prefix of annotations that say what the field appArmorProfile says."""
_SYSTEM = "system-"
"""Prefix of the classes of priority that evict all other pods."""
_PRIVILEGES, _UNCONFINED = "containers with more privileges than others", "pods that are not confined"


def beyond(pod: Json, account: str = "") -> str:
    """What of a pod's spec it is, "" for nothing. `account` is the only ServiceAccount that it may have."""
    for field in _OF_MACHINE:
        if pod.get(field):
            return field
    for field in ("serviceAccountName", "serviceAccount"):
        if pod.get(field) not in (None, "", account):
            return f"another {field} than the base"
    if str(pod.get("priorityClassName") or "").startswith(_SYSTEM):
        return "a priorityClassName of the system"
    context = pod.get("securityContext")
    if isinstance(context, dict) and context.get("sysctls"):
        return "sysctls"
    return _of_context(context) or _of_containers(pod) or _of_volumes(pod)


def unconfined(annotations: Any) -> str:
    """What of a pod's annotations it is; "" for nothing."""
    given = annotations if isinstance(annotations, dict) else {}
    found = (name for name, value in given.items() if str(name).startswith(_APP_ARMOR) and value == "unconfined")
    return next(found, "")


def _of_containers(pod: Json) -> str:
    for kind in ("initContainers", "containers"):
        given = pod.get(kind, [])
        if not isinstance(given, list) or not all(
            isinstance(one, dict) and isinstance(one.get("env") or [], list) for one in given
        ):
            return f"{kind} that are none"
        for one in given:
            ports = one.get("ports") or []
            if not isinstance(ports, list) or any(not isinstance(port, dict) or port.get("hostPort") for port in ports):
                return "ports of the machine (hostPort)"
            if what := _of_context(one.get("securityContext")):
                return what
    return ""


def _of_volumes(pod: Json) -> str:
    volumes = pod.get("volumes") or []
    if not isinstance(volumes, list) or any(not isinstance(one, dict) or "hostPath" in one for one in volumes):
        return "volumes of the machine"
    return ""


def _of_context(context: Any) -> str:
    """Of the securityContext of a pod or a container."""
    if context is None:
        return ""
    if not isinstance(context, dict) or _has_privileges(context):
        return _PRIVILEGES
    return "" if _is_confined(context) else _UNCONFINED


def _has_privileges(context: Json) -> bool:
    capabilities, windows = context.get("capabilities"), context.get("windowsOptions") or {}
    added = capabilities.get("add") if isinstance(capabilities, dict) else capabilities
    on_host = windows.get("hostProcess") if isinstance(windows, dict) else windows
    return bool(context.get("privileged") or added or context.get("procMount") or on_host)


def _is_confined(context: Json) -> bool:
    profiles = [context.get(name) or {} for name in ("seccompProfile", "appArmorProfile")]
    if any(not isinstance(profile, dict) or profile.get("type") == "Unconfined" for profile in profiles):
        return False
    selinux = context.get("seLinuxOptions") or {}
    if not isinstance(selinux, dict) or selinux.get("user") or selinux.get("role"):
        return False
    return (selinux.get("type") or "") in _CONFINED
