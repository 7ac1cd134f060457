"""Error messages for invalid values, for the author of the YAML file. Pure: pydantic's error details in, one message out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

__all__ = ["FIELDS", "MISSING", "meant", "reason_of", "suggestion", "unknown_field"]

MISSING = "is missing"
FIELDS = "fields with values, like {a: b}"

_WHOLE = "should be a whole number"
_NUMBER = "should be a number"
_TEXT = 'should be text; write it in quotes, like "1" or "off"'
_SWITCH = "should be true or false"
_REASONS: Mapping[str, str | Callable[[Mapping[str, Any]], str]] = {
    "missing": MISSING,
    "extra_forbidden": "is not a field",
    "model_type": f"should be {FIELDS}",
    "dict_type": f"should be {FIELDS}",
    "list_type": "should be a list, like [a, b]",
    "string_type": _TEXT,
    "string_too_short": "is empty",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "should be a finite number",
    "literal_error": lambda bound: f"should be {bound['expected']}",
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "greater_than": lambda bound: f"should be more than {bound['gt']:g}",
    "greater_than_equal": lambda bound: f"should be at least {bound['ge']:g}",
    "less_than_equal": lambda bound: f"should be at most {bound['le']:g}",
}

_KUBERNETES = "this is an object of Kubernetes, and weir up takes a list of apps; weir init writes a file to begin with"

_MEANT: Mapping[str, tuple[tuple[str, ...], str]] = {
    "replicas": (("min", "max"), "min and max say how many replicas, like min: 0 and max: 4"),
    "replica": (("min", "max"), "min and max say how many replicas, like min: 0 and max: 4"),
    "instances": (("min", "max"), "min and max say how many replicas, like min: 0 and max: 4"),
    "scale": (("min", "max"), "min and max say how many replicas, like min: 0 and max: 4"),
    "minReplicas": (("min",), "did you mean min?"),
    "minReplicaCount": (("min",), "did you mean min?"),
    "min_replicas": (("min",), "did you mean min?"),
    "maxReplicas": (("max",), "did you mean max?"),
    "maxReplicaCount": (("max",), "did you mean max?"),
    "max_replicas": (("max",), "did you mean max?"),
    "host": (("hosts",), "did you mean hosts?"),
    "path": (("paths",), "did you mean paths?"),
    "concurrency": (("target",), "target says how many requests at once one replica should carry"),
    "requestRate": (("rate",), "did you mean rate?"),
    "cooldownPeriod": (("cooldown",), "did you mean cooldown?"),
    "idle": (("cooldown",), "cooldown says after how long the app goes to sleep"),
    "idle_timeout": (
        ("cooldown",),
        "cooldown says after how long the app goes to sleep, timeouts.idle when a silent answer ends",
    ),
    "timeout": (("timeouts",), "timeouts has one for each part of a request, like timeouts: {request: 30s}"),
    "url": (("hosts",), "hosts and paths say which requests are for the app"),
    "domain": (("hosts",), "did you mean hosts?"),
    "domains": (("hosts",), "did you mean hosts?"),
    "path_prefixes": (("paths",), "did you mean paths?"),
    "cmd": (("command",), "did you mean command?"),
    "run": (("command",), "did you mean command?"),
    "exec": (("command",), "did you mean command?"),
    "entrypoint": (("command",), "did you mean command?"),
    "script": (("command",), "did you mean command?"),
    "args": (("command",), "command is the whole line, or a list of words"),
    "image": (("command",), "weir up runs commands; `command: docker run …` is one"),
    "build": (("command",), "weir up runs commands, and builds nothing"),
    "environment": (("env",), "did you mean env?"),
    "envfile": (("env_file",), "did you mean env_file?"),
    "dotenv": (("env_file",), "did you mean env_file?"),
    "working_dir": (("cwd",), "did you mean cwd?"),
    "workdir": (("cwd",), "did you mean cwd?"),
    "directory": (("cwd",), "did you mean cwd?"),
    "dir": (("cwd",), "did you mean cwd?"),
    "healthcheck": (("readiness",), "readiness says when a replica takes requests, like readiness: {path: /healthz}"),
    "health": (("readiness",), "readiness says when a replica takes requests, like readiness: {path: /healthz}"),
    "readinessProbe": (("readiness",), "readiness says when a replica takes requests, like readiness: {path: /healthz}"),
    "stop_grace_period": (("grace",), "did you mean grace?"),
    "restart": (("command",), "an app that ends is always started again"),
    "dependsOn": (("depends_on",), "did you mean depends_on?"),
    "needs": (("depends_on",), "did you mean depends_on?"),
    "links": (("depends_on",), "depends_on names the apps that wake together with this one"),
    "ports": (("port",), "did you mean port?"),
    "expose": (("port",), "did you mean port?"),
    "services": (("apps",), "did you mean apps?"),
    "applications": (("apps",), "did you mean apps?"),
    "routes": (("apps",), "did you mean apps?"),
    "version": (("apps",), "there is but one version of this file"),
    "apiVersion": (("apps",), _KUBERNETES),
    "protocol": (("app_protocol",), "did you mean app_protocol?"),
    "appProtocol": (("app_protocol",), "did you mean app_protocol?"),
    "kind": (("apps",), _KUBERNETES),
    "metadata": (("apps",), _KUBERNETES),
    "spec": (("apps",), _KUBERNETES),
    "log_level": (("apps",), "interceptor: {log_level: debug} sets it for one kind of component, --log-level for all"),
    "log_json": (("apps",), "--log-json sets it for all"),
}
"""Field names known from other tools: the fields of ours that must exist for the hint to apply, and the hint."""


def reason_of(detail: ErrorDetails) -> str:
    """Why pydantic rejected a value. Messages of our own validators are used as they are."""
    reason = _REASONS.get(detail["type"])
    if reason is None:
        message = detail["msg"].removeprefix("Value error, ")
        return message if detail["type"] in ("value_error", "weir") else message[:1].lower() + message[1:]
    return reason if isinstance(reason, str) else reason(detail.get("ctx", {}))


def meant(name: str, known: Iterable[str]) -> str | None:
    """The field that was probably meant by an unknown name."""
    near = get_close_matches(name, [other for other in known if other != name], n=1)
    return near[0] if near else None


def _nearly(name: str, known: Iterable[str]) -> str | None:
    """The same with a stricter limit, for use with all fields of the file: among so many names, one is always somewhat
    similar."""
    near = get_close_matches(name, known, n=1, cutoff=0.75)
    return near[0] if near else None


def suggestion(name: str, known: Iterable[str]) -> str:
    near = meant(name, known)
    return f"; did you mean {near}?" if near else ""


def unknown_field(name: str, here: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    """Why a field is unknown, and what to write instead: `here` are the fields valid at this place, `elsewhere` says where
    other names belong."""
    fields = set(here)
    needed, hint = _MEANT.get(name, ((), ""))
    if hint and fields.intersection(needed):
        return f"is not a field; {hint}"
    if name in elsewhere:
        return f"is not a field here; it is one of {elsewhere[name]}"
    if near := meant(name, fields):
        return f"is not a field; did you mean {near}?"
    if (brought := meant(name, _MEANT)) and fields.intersection(_MEANT[brought][0]):
        return f"is not a field; {_MEANT[brought][1]}"
    near = _nearly(name, elsewhere)
    return f"is not a field; did you mean {near}, of {elsewhere[near]}?" if near else "is not a field"
