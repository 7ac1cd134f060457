"""The Dockerfile: what it copies exists and reaches the builder, what it installs is pinned, and what it runs is not root.

tools/try_image.py runs its lines; this only reads them.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest
import yaml

from controller.settings import ControllerSettings
from tests.cluster.tools import GO
from tests.support.manifests import DEPLOY, ROOT
from tools.try_image import lines_of

IMAGE = DEPLOY / "image"
LINES = list(lines_of((IMAGE / "Dockerfile").read_text()))
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)(?: ; (.+?))? \\$", re.MULTILINE)
NAME = re.compile(r"^[A-Za-z0-9._-]+")

BOTH = {"h11"}
"""A tool of the tests, and what the web server and the HTTP client of the image are made of."""


def _arguments(word: str) -> list[str]:
    return [rest for each, rest in LINES if each == word]


def _copied() -> list[str]:
    """What is copied from the repository."""
    sources = [shlex.split(rest)[:-1] for rest in _arguments("COPY") if not rest.startswith("--from=")]
    return [source for group in sources for source in group]


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _pins(lock: str) -> dict[str, str]:
    return {name: version for name, version, _ in PIN.findall((ROOT / lock).read_text())}


def test_what_is_copied_exists() -> None:
    assert _copied()
    assert [source for source in _copied() if not (ROOT / source).exists()] == []


def test_what_is_copied_is_not_ignored() -> None:
    ignored, *rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignored == "*"
    kept = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for source in _copied():
        assert any(fnmatch(source.rstrip("/"), rule) for rule in kept), source
    for rule in kept:  # nothing reaches the builder that is not copied
        assert any(fnmatch(source.rstrip("/"), rule) for source in _copied()), rule


def test_every_package_of_the_project_is_copied() -> None:
    packages = {each.rstrip("*") for each in _project()["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= {source.rstrip("/") for source in _copied()}


def test_every_component_is_a_package() -> None:
    assert {"interceptor", "scaler", "controller"} <= {source.rstrip("/") for source in _copied()}
    packages = _project()["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {"interceptor*", "scaler*", "controller*"} <= set(packages)


@pytest.mark.parametrize("line", [rest for rest in _arguments("RUN") if "pip install" in rest or "pip wheel" in rest])
def test_nothing_is_installed_without_a_hash(line: str) -> None:
    assert "--require-hashes" in line or "--no-index" in line
    assert "--no-index" in line or "--only-binary=:all:" in line  # no setup.py of others is run


@pytest.mark.parametrize("lock", ["deploy/image/runtime.lock", "deploy/image/build.lock"])
def test_the_image_gets_the_versions_that_are_tested(lock: str) -> None:
    tested = _pins("requirements.lock")
    pins = _pins(lock)
    assert pins
    assert pins == {name: tested[name] for name in pins}
    text = (ROOT / lock).read_text()
    assert len(PIN.findall(text)) == len(re.findall(r"^\S+==", text, re.MULTILINE))
    assert text.count("--hash=sha256:") >= len(pins)


def test_the_image_has_what_the_project_needs_and_no_tools() -> None:
    project = _project()["project"]
    pins = _pins("deploy/image/runtime.lock")
    needed = {_name(requirement) for requirement in project["dependencies"]}
    tools = {_name(requirement) for requirement in project["optional-dependencies"]["dev"]}
    assert needed <= pins.keys()
    assert not (tools - needed - BOTH) & pins.keys()
    assert set(_pins("deploy/image/build.lock")) == {_name(each) for each in _project()["build-system"]["requires"]}


def test_the_base_is_pinned_and_fits_the_project() -> None:
    stages = [rest.split()[0] for rest in _arguments("FROM")]
    assert stages == ["python:3.13-slim", "golang:1.26", "python:3.13-slim"]  # the second one builds helm
    assert _project()["project"]["requires-python"] == ">=3.11,<3.14"


def test_helm_is_where_the_controller_looks_for_it() -> None:
    """The pinned one, built by tools/helm as tests build theirs."""
    (copied,) = [shlex.split(rest) for rest in _arguments("COPY") if rest.startswith("--from=helm")]
    directory, _, name = copied[-1].rpartition("/")
    assert name == ControllerSettings.model_fields["admin_helm"].default
    (path,) = [path for rest in _arguments("ENV") for path in re.findall(r"PATH=(\S+)", rest)]
    assert path.split(":")[0] == directory
    stage = [rest for word, rest in LINES if word in ("FROM", "COPY", "RUN")]
    begin = stage.index("golang:1.26 AS helm")
    assert stage[begin + 1 : begin + 3] == ["tools/helm /tools/helm", f'cp "$(/tools/helm)" {copied[-2]}']
    assert f"golang:{GO}" in stage[begin]
    assert re.search(r"^version=v3\.\d+\.\d+$", (ROOT / "tools" / "helm").read_text(), re.MULTILINE)


def test_what_runs_is_not_root() -> None:
    assert _arguments("USER") == ["65532:65532"]
    last = [word for word, _ in LINES]
    assert last.index("USER") > max(number for number, word in enumerate(last) if word in {"FROM", "COPY", "RUN"})


def test_what_runs_is_the_command_of_the_project() -> None:
    (entrypoint,) = _arguments("ENTRYPOINT")
    (name,) = json.loads(entrypoint)
    assert name in _project()["project"]["scripts"]
    assert json.loads(_arguments("CMD")[0]) == ["--help"]


def test_ports_told_are_ports_used() -> None:
    used = set()
    for path in (DEPLOY / "base").glob("*/deployment.yaml"):
        (found,) = yaml.safe_load_all(path.read_text())
        ports = found["spec"]["template"]["spec"]["containers"][0]["ports"]
        used |= {str(port["containerPort"]) for port in ports}
    assert set(_arguments("EXPOSE")[0].split()) == used


def _name(requirement: str) -> str:
    found = NAME.match(requirement)
    assert found
    return found[0].lower().replace("_", "-")
