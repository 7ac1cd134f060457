"""What the flags of `weir app create` and `update` say, for the Admin API and for the file of `weir up`. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from fleet.routing.duration import seconds
from weir.apps.failure import UsageError
from weir.apps.needs import dependencies

if TYPE_CHECKING:
    from weir.engine.document import Path

__all__ = ["Given", "cluster_document", "flag_of", "local_changes", "merge", "nested", "pairs", "settings"]

PROTOCOLS = ("http", "h2c", "https", "h2")
"""Those of the Admin API, which `weir up` knows as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The flags, as they were typed; what was not typed is None or empty."""

    image: str | None = None
    command: str | None = None
    arg: Sequence[str] = ()
    port: Sequence[str] = ()
    host: Sequence[str] = ()
    path: Sequence[str] = ()
    env: Sequence[str] = ()
    env_secret: Sequence[str] = ()
    request: Sequence[str] = ()
    limit: Sequence[str] = ()
    min: int | None = None
    max: int | None = None
    target: int | None = None
    rate: int | None = None
    health_path: str | None = None
    cooldown: str | None = None
    depends_on: Sequence[str] = ()
    account: str | None = None
    cwd: str | None = None
    set: Sequence[str] = ()
    unset: Sequence[str] = ()
    document: Mapping[str, Any] | None = None
    """The content of the file of --file."""

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, each.name) not in (None, (), []) for each in fields(self))


_CLUSTER_ONLY = {"image": "--image", "arg": "--arg", "env_secret": "--env-secret", "request": "--request", "limit": "--limit"}
_CLUSTER_ONLY["account"] = "--service-account"
_FLAGS = {
    "image": "--image",
    "command": "--command",
    "args": "--arg",
    "ports": "--port",
    "port": "--port",
    "hosts": "--host",
    "paths": "--path",
    "environment": "--env",
    "env": "--env",
    "resources": "--request and --limit",
    "replicas": "--min and --max",
    "min": "--min",
    "max": "--max",
    "target": "--target",
    "rate": "--rate",
    "health_path": "--health-path",
    "readiness": "--health-path",
    "cooldown": "--cooldown",
    "depends_on": "--depends-on",
    "copy_namespace": "--copy-namespace",
    "service_account": "--service-account",
    "cwd": "--cwd",
}


def flag_of(line: str) -> str:
    """A message that begins with a field's name, with the flag that sets it."""
    field = line.partition(":")[0].partition("[")[0].partition(".")[0]
    return f"{line} ({_FLAGS[field]})" if field in _FLAGS and ":" in line else line


def cluster_document(given: Given) -> dict[str, Any]:
    """The fields of a document of the Admin API, without the name; of an update, a merge patch. Raises UsageError."""
    if given.cwd is not None:
        raise UsageError("--cwd: is for apps of weir up; in a cluster the image says where its command runs")
    document: dict[str, Any] = dict(given.document or {})
    flat = {
        "image": given.image,
        "command": None if given.command is None else _words(given.command),
        "args": [*given.arg] or None,
        "ports": [_port(typed, number) for number, typed in enumerate(given.port)] or None,
        "hosts": [*given.host] or None,
        "paths": [*given.path] or None,
        "health_path": given.health_path,
        "cooldown": None if given.cooldown is None else _whole_seconds(given.cooldown),
        "depends_on": dependencies(given.depends_on) or None,
        "service_account": given.account,
    }
    document |= {name: value for name, value in flat.items() if value is not None}
    environment: dict[str, Any] = dict(pairs(given.env, "--env"))
    for name, source in pairs(given.env_secret, "--env-secret"):
        secret, colon, key = source.partition(":")
        if not (secret and colon and key):
            raise UsageError(f"--env-secret {name}={source}: should be NAME=SECRET:KEY")
        environment[name] = {"secret": {"name": secret, "key": key}}
    inner = {
        "environment": environment,
        "replicas": _known(min=given.min, max=given.max),
        "target": _known(concurrency=given.target, rate=given.rate),
        "resources": {
            name: dict(pairs(typed, flag))
            for name, typed, flag in (("requests", given.request, "--request"), ("limits", given.limit, "--limit"))
            if typed
        },
    }
    for name, values in inner.items():
        merge(document, {name: values} if values else {})
    for path, value in settings(given.set):
        merge(document, nested(path, value))
    return document


def local_changes(given: Given) -> dict[Path, Any]:
    """Values of fields of the file of `weir up`, each by its path in the app. Raises UsageError."""
    for name, flag in _CLUSTER_ONLY.items():
        if getattr(given, name) not in (None, (), []):
            raise UsageError(f"{flag}: is for a cluster; an app of weir up is a --command on this machine")
    changes: dict[Path, Any] = {(name,): value for name, value in (given.document or {}).items() if name != "name"}
    flat = {
        "command": given.command,
        "hosts": [*given.host] or None,
        "paths": [*given.path] or None,
        "min": given.min,
        "max": given.max,
        "target": given.target,
        "rate": given.rate,
        "cooldown": given.cooldown,
        "depends_on": dependencies(given.depends_on) or None,
        "cwd": given.cwd,
    }
    changes |= {(name,): value for name, value in flat.items() if value is not None}
    if given.health_path is not None:
        changes["readiness", "path"] = given.health_path
    for name, value in pairs(given.env, "--env"):
        changes["env", name] = value
    if len(given.port) > 1:
        raise UsageError("--port: an app of weir up listens on one port")
    for typed in given.port:
        port = _port(typed, 0)
        changes["port",] = port["port"]
        if "protocol" in port:
            changes["app_protocol",] = port["protocol"]
    for path, value in settings(given.set):
        changes[path] = value
    return changes


def settings(every: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path and the value of each FIELD=VALUE. Raises UsageError."""
    from weir.apps.plain import NotPlainError, plain  # noqa: PLC0415  every command would begin with its YAML

    for typed in every:
        name, equals, text = typed.partition("=")
        if not name or not equals:
            raise UsageError(f"--set {typed}: should be FIELD=VALUE")
        try:
            value = plain(text)
        except NotPlainError as error:
            raise UsageError(f"--set {name}: its value cannot be read: {error}") from error
        yield tuple(name.split(".")), value


def nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    """A value within mappings of these names."""
    for name in reversed(path[1:]):
        value = {name: value}
    return {path[0]: value}


def merge(document: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Put values into a document: mappings field by field, anything else as a whole."""
    for name, value in values.items():
        inner = document.get(name)
        if isinstance(value, dict) and isinstance(inner, dict):
            merged = dict(inner)
            merge(merged, value)
            document[name] = merged
        else:
            document[name] = value


def _known(**values: int | None) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}


def pairs(typed: Sequence[str], flag: str) -> Iterator[tuple[str, str]]:
    """The name and the value of each NAME=VALUE. Raises UsageError."""
    for each in typed:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise UsageError(f"{flag} {each}: should be NAME=VALUE")
        yield name, value


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command: {error}") from error


def _port(typed: str, number: int) -> dict[str, Any]:
    """ "8080", "8080/h2c", "grpc=50051/h2c"."""
    name, equals, rest = typed.rpartition("=")
    digits, slash, protocol = rest.partition("/")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5) or (slash and protocol not in PROTOCOLS):
        raise UsageError(f"--port {typed}: should be PORT, PORT/PROTOCOL or NAME=PORT, with one of {', '.join(PROTOCOLS)}")
    port: dict[str, Any] = {"port": int(digits)}
    if equals or number:
        port["name"] = name or f"port-{int(digits)}"
    return port | ({"protocol": protocol} if slash else {})


def _whole_seconds(typed: str) -> int:
    try:
        found = seconds(typed)
    except ValueError as error:
        raise UsageError(f"--cooldown: {error}") from error
    if found != int(found):
        raise UsageError("--cooldown: should be whole seconds in a cluster")
    return int(found)
