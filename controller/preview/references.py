"""What the pods of a workload read by its name in their namespace, and how they are called elsewhere. Pure.

ConfigMaps and Secrets can be copied. Claims of volumes, ServiceAccounts and what a machine has to give are not taken to another
namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from hashlib import sha256
from typing import Any, NamedTuple

from controller.preview.confining import beyond, unconfined
from controller.preview.manifests import DIGEST, Json
from controller.problem import Problem

__all__ = ["CONFIG_MAP", "COPY_TO", "SECRET", "copied_name", "permits", "pod_elsewhere", "references_of", "workload_elsewhere"]

CONFIG_MAP, SECRET = "ConfigMap", "Secret"
COPY_TO = "weir.dev/copy-to"
"""Annotation of a ConfigMap or Secret: the namespaces that it may be copied to, separated by commas; a name may end with "*"."""
MAX_REFERENCES = 64
"""ConfigMaps and Secrets of one copy: each may have a megabyte, and is read at each look."""
MAX_OBJECT_NAME = 253
"""Characters of a name of a ConfigMap or Secret."""
_EVERYWHERE = (CONFIG_MAP, "kube-root-ca.crt")
"""Kubernetes makes it in each namespace."""
_OF_VARIABLES = {"configMapKeyRef": CONFIG_MAP, "secretKeyRef": SECRET}
_OF_ALL_VARIABLES = {"configMapRef": CONFIG_MAP, "secretRef": SECRET}
_OF_DRIVERS = {
    **dict.fromkeys(("cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"), "secretRef"),
    "csi": "nodePublishSecretRef",
}
"""Volumes whose driver gets a Secret, and the field with the reference to it."""

Reference = tuple[str, str]
"""CONFIG_MAP or SECRET, and a name."""


class _Place(NamedTuple):
    """Where a name is."""

    kind: str
    holder: Json
    field: str = "name"
    optional: bool = False


def references_of(pod: Json) -> Mapping[Reference, bool]:
    """The ConfigMaps and Secrets, and whether a pod needs each to start. Raises Problem if there are too many."""
    found: dict[Reference, bool] = {}
    for place in _places(pod):
        reference = (place.kind, str(place.holder[place.field]))
        found[reference] = found.get(reference, False) or not place.optional
    if len(found) > MAX_REFERENCES:
        raise Problem("spec.base", f"its pods name {len(found)} ConfigMaps and Secrets; {MAX_REFERENCES} can be copied at most")
    return found


def workload_elsewhere(spec: Json, called: Callable[[str], str]) -> Json:
    """The spec of a workload in another namespace, as `pod_elsewhere`. Raises Problem."""
    template = spec.get("template", {})
    if what := unconfined(template.get("metadata", {}).get("annotations")):
        raise Problem("spec.base", f"its pods have {what}, which no copy in another namespace gets")
    for claim in spec.get("volumeClaimTemplates") or ():
        _check_claim(claim, claim.get("metadata", {}).get("name", ""))
    return {**spec, "template": {**template, "spec": pod_elsewhere(template.get("spec", {}), called)}}


def pod_elsewhere(pod: Json, called: Callable[[str], str]) -> Json:
    """The pod in another namespace: its ConfigMaps and Secrets have other names there, and it has the ServiceAccount `default`.
    Raises Problem."""
    for volume in pod.get("volumes") or ():
        _check_volume(volume)
    if pod.get("resourceClaims"):
        raise Problem("spec.base", "its pods have resourceClaims, which are of their namespace")
    made = {name: value for name, value in deepcopy(pod).items() if name not in ("serviceAccountName", "serviceAccount")}
    if what := beyond(made):
        raise Problem("spec.base", f"its pods have {what}, which no copy in another namespace gets")
    for place in _places(made):
        place.holder[place.field] = called(str(place.holder[place.field]))
    return made


def _check_volume(volume: Json) -> None:
    """Whether it is the same wherever the pod is: what it names in fields that only its driver knows, somebody else may have in
    another namespace. Raises Problem."""
    name = volume["name"]
    if "persistentVolumeClaim" in volume:
        raise Problem("spec.base", f"its volume {name} is a PersistentVolumeClaim of its namespace")
    if (volume.get("csi") or {}).get("volumeAttributes"):
        why = f"its volume {name} has volumeAttributes (csi), which may name what is in its namespace"
        raise Problem("spec.base", why)
    _check_claim((volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}, name)


def _check_claim(claim: Json, name: str) -> None:
    """Raises Problem for the template of a claim that begins with the content of something else."""
    source = next((field for field in ("dataSource", "dataSourceRef") if claim.get("spec", {}).get(field)), "")
    if source:
        raise Problem("spec.base", f"its volume {name} has a {source}, which is of its namespace")


def copied_name(copy: str, name: str) -> str:
    """Of a ConfigMap or Secret that is copied for a copy. A dot is in no name of a copy, so none is another one's."""
    whole = f"{copy}.{name}"
    if len(whole) <= MAX_OBJECT_NAME:
        return whole
    return f"{whole[: MAX_OBJECT_NAME - DIGEST - 1].rstrip('-.')}-{sha256(whole.encode()).hexdigest()[:DIGEST]}"


def permits(given: str, namespace: str) -> bool:
    """Whether the value of `COPY_TO` names a namespace."""
    for word in map(str.strip, given.split(",")):
        if word == namespace or (word.endswith("*") and namespace.startswith(word[:-1])):
            return True
    return False


def _places(pod: Json) -> Iterator[_Place]:
    for place in _all_places(pod):
        name = place.holder.get(place.field)
        if name and (place.kind, name) != _EVERYWHERE:
            yield place


def _all_places(pod: Json) -> Iterator[_Place]:
    for secret in pod.get("imagePullSecrets") or ():
        yield _Place(SECRET, secret, optional=True)  # without it the image is pulled as by anybody
    for kind in ("initContainers", "containers"):
        for container in pod.get(kind) or ():
            for variable in container.get("env") or ():
                yield from _of_fields(variable.get("valueFrom") or {}, _OF_VARIABLES)
            for variables in container.get("envFrom") or ():
                yield from _of_fields(variables, _OF_ALL_VARIABLES)
    for volume in pod.get("volumes") or ():
        yield from _of_volume(volume)


def _of_volume(volume: Json) -> Iterator[_Place]:
    parts = {"configMap": CONFIG_MAP}
    yield from _of_fields(volume, parts)
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _of_fields(source, parts | {"secret": SECRET})
    for kind in ("secret", "azureFile"):
        if given := volume.get(kind):
            yield _Place(SECRET, given, "secretName", bool(given.get("optional")))
    for kind, field in _OF_DRIVERS.items():
        if given := (volume.get(kind) or {}).get(field):
            yield _Place(SECRET, given)


def _of_fields(holder: Json, kinds: Mapping[str, str]) -> Iterator[_Place]:
    for field, kind in kinds.items():
        given: Any = holder.get(field)
        if given:
            yield _Place(kind, given, optional=bool(given.get("optional")))
