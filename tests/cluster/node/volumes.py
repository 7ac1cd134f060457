"""Volumes of a pod as directories of the node, and the mounts for its containers. Written once, when the pod starts."""

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.node.spec import Key, SpecError, Terms, field

__all__ = ["Mount", "make_volumes", "mount_script", "mounts", "read_keys", "referenced"]

# Directories in which a pod may create files: the rest of the root file system is the machine's own.
WRITABLE = ("/run/", "/var/run/", "/etc/", "/tmp/")


@dataclass(frozen=True, slots=True)
class Mount:
    source: Path
    target: str
    read_only: bool


def referenced(pod: Object) -> set[Key]:
    """Every ConfigMap and Secret that the pod names."""
    found = set[Key]()
    for container in pod["spec"]["containers"]:
        for source in (*container.get("envFrom", ()), *(entry.get("valueFrom", {}) for entry in container.get("env", ()))):
            found |= {Key("configmaps", ref["name"]) for name, ref in source.items() if name.startswith("configMap")}
            found |= {Key("secrets", ref["name"]) for name, ref in source.items() if name.startswith("secret")}
    for volume in pod["spec"].get("volumes", ()):
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            if "configMap" in source:
                found.add(Key("configmaps", source["configMap"]["name"]))
            if "secret" in source:
                found.add(Key("secrets", source["secret"].get("secretName") or source["secret"]["name"]))
    return found


async def read_keys(api: Api, namespace: str, keys: set[Key]) -> dict[Key, Mapping[str, str]]:
    """The values of the ConfigMaps and Secrets that exist."""
    found = {key: await api.find(namespaced(key.kind, namespace, key.name)) for key in keys}
    return {key: _decoded(key.kind, item) for key, item in found.items() if item is not None}


async def make_volumes(api: Api, terms: Terms, directory: Path) -> dict[str, Path]:
    """A directory per volume, by name."""
    made = {}
    for volume in terms.pod["spec"].get("volumes", ()):
        path = directory / volume["name"]
        path.mkdir(parents=True, exist_ok=True)
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        for source in sources:
            await _fill(api, terms, source, path)
        made[volume["name"]] = path
    return made


def mounts(container: Object, volumes: Mapping[str, Path]) -> list[Mount]:
    return [
        Mount(volumes[mount["name"]] / mount.get("subPath", ""), mount["mountPath"], bool(mount.get("readOnly")))
        for mount in container.get("volumeMounts", ())
    ]


def mount_script(wanted: Sequence[Mount], *, read_only_root: bool) -> str:
    """The script that a shell runs in a new mount namespace before it executes the container's command."""
    lines = ["set -e", "mount -t tmpfs -o mode=755 tmpfs /run"]
    for mount in wanted:
        source, target = shlex.quote(str(mount.source)), shlex.quote(mount.target)
        if not Path(mount.target).exists() and not mount.target.startswith(WRITABLE):
            raise SpecError(f"cannot mount at {mount.target}: only below {', '.join(WRITABLE)} here")
        create = f"mkdir -p {target}" if mount.source.is_dir() else f"mkdir -p $(dirname {target}); touch {target}"
        lines += [create, f"mount --bind {source} {target}"]
        if mount.read_only:
            lines.append(f"mount -o remount,bind,ro {target}")
    if read_only_root:
        lines.append("mount -o remount,bind,ro /")
    return "\n".join([*lines, 'exec "$@"'])


async def _fill(api: Api, terms: Terms, source: Object, path: Path) -> None:
    if "serviceAccountToken" in source:
        wanted = source["serviceAccountToken"]
        _write(path, {wanted["path"]: await _token(api, terms, wanted)})
    elif "downwardAPI" in source:
        items = source["downwardAPI"].get("items", ())
        _write(path, {item["path"]: field(item["fieldRef"]["fieldPath"], terms) for item in items})
    elif "configMap" in source or "secret" in source:
        _write(path, _items(terms, source))
    elif "emptyDir" not in source:
        raise SpecError(f"volume kinds {sorted(source)} are not known here")


def _items(terms: Terms, source: Object) -> dict[str, str]:
    wanted = source.get("configMap") or source["secret"]
    kind = "configmaps" if "configMap" in source else "secrets"
    key = Key(kind, wanted.get("secretName") or wanted["name"])
    values = terms.lookup(key)
    if values is None:
        if wanted.get("optional"):
            return {}
        raise SpecError(f"{key.kind} {key.name!r} not found")
    items = wanted.get("items")
    return dict(values) if items is None else {item["path"]: values[item["key"]] for item in items}


async def _token(api: Api, terms: Terms, wanted: Object) -> str:
    metadata = terms.pod["metadata"]
    account = terms.pod["spec"].get("serviceAccountName", "default")
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    spec = {"expirationSeconds": wanted.get("expirationSeconds", 3600), "boundObjectRef": bound}
    spec["audiences"] = [wanted["audience"]] if wanted.get("audience") else []
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    answer = await api.create(namespaced("serviceaccounts", metadata["namespace"], account) + "/token", request)
    return str(answer["status"]["token"])


def _write(path: Path, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)


def _decoded(kind: str, item: Object) -> dict[str, str]:
    data = item.get("data") or {}
    return dict(data) if kind == "configmaps" else {name: base64.b64decode(value).decode() for name, value in data.items()}
