"""What is wrong with a document beyond its schema, with pointers into it. Reads the files of time zones."""

from __future__ import annotations

import re

import msgspec

from controller.admin.documents import Document, Fault
from controller.admin.objects import amount, manifests
from controller.resources import parse_http_scaled_object

__all__ = ["faults_of"]

_POINTERS = (
    ("spec.hosts", "/hosts"),
    ("spec.pathPrefixes", "/paths"),
    ("spec.scalingMetric", "/target"),
    ("spec.schedule", "/schedule"),
    ("spec.maxBusy", "/max_busy"),
    ("spec.dependsOn", "/depends_on"),
)
_ITEM = re.compile(r"\[([0-9]{1,9})\](?:\.([a-z]{1,20}))?")


def faults_of(document: Document, namespace: str) -> list[Fault]:
    """What is wrong with a complete document beyond its schema: what Weir's controller would say of the HTTPScaledObject."""
    made = manifests(document, namespace)["HTTPScaledObject"]
    made["metadata"] |= {"uid": "none", "generation": 1}
    resource = parse_http_scaled_object(msgspec.json.encode(made))
    problems = [*([resource.problem] if resource.problem is not None else []), *resource.ignored]
    faults = [Fault(detail=problem.reason, pointer=_pointer(problem.field)) for problem in problems]
    for what, quantities in (("requests", document.resources.requests), ("limits", document.resources.limits)):
        for name in quantities:
            if name not in ("cpu", "memory", "ephemeral-storage") and "/" not in name:
                detail = "is no resource: cpu, memory, ephemeral-storage, or one of a vendor, with a domain"
                faults.append(Fault(detail=detail, pointer=f"/resources/{what}/{name}"))
    for name, limit in document.resources.limits.items():
        request = document.resources.requests.get(name)
        if request is not None and amount(request) > amount(limit):
            escaped = name.replace("/", "~1")
            faults.append(Fault(detail=f"is more than the limit of {limit}", pointer=f"/resources/requests/{escaped}"))
    return faults


def _pointer(field: str) -> str:
    """JSON pointer to the field of a document that became this field of an HTTPScaledObject."""
    for start, pointer in _POINTERS:
        if field == start or field.startswith((f"{start}[", f"{start}.")):
            item = _ITEM.match(field, len(start))
            return pointer if item is None else "/".join((pointer, *filter(None, item.groups())))
    return ""
