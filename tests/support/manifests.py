"""The manifests of deploy/ as objects: read from files, or built by kustomize as for a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["DEPLOY", "ROOT", "Manifests", "Object", "build", "container", "kustomize", "pod", "read", "selects"]

Object = dict[str, Any]
"""A Kubernetes object as it would be sent."""

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


class Manifests:
    """The objects of one overlay."""

    def __init__(self, objects: Sequence[Object]) -> None:
        self.objects = tuple(objects)

    def of(self, *kinds: str) -> tuple[Object, ...]:
        return tuple(found for found in self.objects if found["kind"] in kinds)

    def get(self, kind: str, name: str) -> Object:
        (found,) = (each for each in self.of(kind) if each["metadata"]["name"] == name)
        return found


def read(path: Path) -> list[Object]:
    """The objects of a YAML file."""
    return list(_parsed(path.read_text()))


def kustomize() -> Path:
    """The kustomize program, built first if it is not in the user's cache. Raises RuntimeError with the output of the build."""
    done = subprocess.run([ROOT / "tools" / "kustomize"], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"tools/kustomize failed:\n{done.stderr.strip()}")
    return Path(done.stdout.strip())


def build(program: Path, directory: Path) -> Manifests:
    """The output of kustomize for a directory. Raises RuntimeError for a failure and also for a warning."""
    done = subprocess.run([program, "build", directory], check=False, capture_output=True, text=True)
    if done.returncode != 0 or done.stderr:
        raise RuntimeError(f"kustomize build {directory}:\n{done.stderr.strip()}")
    return Manifests(list(_parsed(done.stdout)))


def pod(workload: Object) -> Object:
    """The pod's spec in a workload."""
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    """The only container of a workload."""
    (only,) = pod(workload)["containers"]
    found: Object = only
    return found


def selects(selector: Mapping[str, str], workload: Object) -> bool:
    """Whether a selector of a Service or a policy matches the workload's pods."""
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return bool(selector) and selector.items() <= labels.items()


def _parsed(text: str) -> Iterator[Object]:
    return (found for found in yaml.safe_load_all(text) if found is not None)
