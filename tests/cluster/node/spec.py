"""Evaluates a pod's spec: command lines, environments, ports, conditions. Pure; objects are JSON."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.cluster.api import Object
from tests.cluster.network import API_ADDRESS, NODE_ADDRESS

__all__ = [
    "NODE",
    "ImageError",
    "Key",
    "Lookup",
    "SpecError",
    "Terms",
    "command_line",
    "environment",
    "expand",
    "field",
    "port_number",
    "ready_condition",
]

NODE = "node"
_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class SpecError(ValueError):
    """A container that cannot be started yet; reason and message are for its waiting status."""

    reason = "CreateContainerConfigError"


class ImageError(SpecError):
    """Its image does not exist."""

    reason = "ErrImagePull"


@dataclass(frozen=True, slots=True)
class Key:
    """One ConfigMap or Secret, as named by env and volumes."""

    kind: str  # "configmaps" or "secrets"
    name: str


Lookup = Callable[[Key], Mapping[str, str] | None]
"""The values of a ConfigMap or Secret; None if it does not exist."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Properties of a pod that are known when it is about to run."""

    pod: Object
    address: str
    lookup: Lookup


def expand(text: str, values: Mapping[str, str]) -> str:
    """Kubernetes' rule: $(NAME) is replaced if known and otherwise left unchanged; $$ is a dollar."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else values.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def command_line(container: Object, images: Mapping[str, Sequence[str]], values: Mapping[str, str]) -> list[str]:
    """Entry point and arguments. An image is replaced by a local command, by the image's name without registry and tag."""
    image = str(container["image"]).rpartition("/")[2].partition("@")[0].partition(":")[0]
    given = container.get("command")
    if image not in images:
        raise ImageError(f"no local command stands for image {container['image']!r}")
    entry = list(images[image]) if given is None else [expand(word, values) for word in given]
    return entry + [expand(word, values) for word in container.get("args", ())]


def environment(container: Object, terms: Terms) -> dict[str, str]:
    """envFrom, then env in order; each may refer to the ones before."""
    name = terms.pod["spec"].get("hostname") or terms.pod["metadata"]["name"]
    values = {"KUBERNETES_SERVICE_HOST": API_ADDRESS, "KUBERNETES_SERVICE_PORT": "443", "HOSTNAME": name}
    for source in container.get("envFrom", ()):
        values |= _whole(source, terms)
    for entry in container.get("env", ()):
        value = _value(entry, values, terms, container)
        if value is not None:
            values[entry["name"]] = value
    return values


def field(path: str, terms: Terms) -> str:
    """The value for a fieldPath of the downward API."""
    metadata, spec = terms.pod["metadata"], terms.pod["spec"]
    match = _FIELD.fullmatch(path)
    if match is not None:
        return str(metadata.get(match[1], {}).get(match[2], ""))
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": NODE,
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": terms.address,
        "status.podIPs": terms.address,
        "status.hostIP": NODE_ADDRESS,
    }
    if path not in known:
        raise SpecError(f"unknown fieldPath {path!r}")
    return str(known[path])


def port_number(container: Object, port: int | str) -> int:
    """The port number, or the containerPort with that name."""
    if isinstance(port, int):
        return port
    for known in container.get("ports", ()):
        if known.get("name") == port:
            return int(known["containerPort"])
    raise SpecError(f"container {container['name']} has no port {port!r}")


def ready_condition(pod: Object) -> bool:
    """Whether the pod's status has the condition Ready."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _whole(source: Object, terms: Terms) -> dict[str, str]:
    reference = source.get("configMapRef") or source["secretRef"]
    key = Key("configmaps" if "configMapRef" in source else "secrets", reference["name"])
    values = terms.lookup(key)
    if values is None and not reference.get("optional"):
        raise SpecError(f"{key.kind} {key.name!r} not found")
    return {source.get("prefix", "") + name: value for name, value in (values or {}).items()}


def _value(entry: Object, values: Mapping[str, str], terms: Terms, container: Object) -> str | None:
    source = entry.get("valueFrom")
    if source is None:
        return expand(entry.get("value", ""), values)
    if "fieldRef" in source:
        return field(source["fieldRef"]["fieldPath"], terms)
    if "resourceFieldRef" in source:
        return _resource(source["resourceFieldRef"]["resource"], container)
    reference = source.get("configMapKeyRef") or source["secretKeyRef"]
    key = Key("configmaps" if "configMapKeyRef" in source else "secrets", reference["name"])
    found = (terms.lookup(key) or {}).get(reference["key"])
    if found is None and not reference.get("optional"):
        raise SpecError(f"{key.kind} {key.name!r} has no key {reference['key']!r}")
    return found


def _resource(name: str, container: Object) -> str:
    part, _, resource = name.partition(".")
    quantity: Any = container.get("resources", {}).get(part, {}).get(resource, "0")
    return str(quantity)
