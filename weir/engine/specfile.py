"""The file of apps: read, checked, and told what is wrong with it on which line.

Gives a whole good file or one error; never half of it, and never starts anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fleet.routing.check_answers import MAX_ANSWER_BYTES
from fleet.routing.table import RouteError, RoutingTable
from fleet.runtime.settings import ComponentSettings
from fleet.runtime.tlsparts import tls_groups
from interceptor.settings import InterceptorSettings
from scaler.settings import ScalerSettings
from weir.engine.answerspec import AffinitySpec, MaintenanceSpec, PlaceholderSpec, StaticSpec
from weir.engine.document import Document, DocumentError, Path, field_name, parse_document
from weir.engine.fields import HeaderSpec, RuleSpec, as_octets, seconds
from weir.engine.spec import AppSpec, FleetSpec, PortsSpec, RateSpec, ReadinessSpec, TimeoutsSpec
from weir.engine.words import MISSING, reason_of

__all__ = ["SpecError", "SpecFile", "load_spec", "parse_spec"]

MAX_FILE_BYTES = 4 * 1024 * 1024
"""A file of some ten thousand apps; what is larger was named by mistake."""

_MODELS: tuple[type[BaseModel], ...] = (
    FleetSpec, AppSpec, PortsSpec, ReadinessSpec, RateSpec, RuleSpec, HeaderSpec, TimeoutsSpec, PlaceholderSpec, MaintenanceSpec,
    StaticSpec, AffinitySpec,
)  # fmt: skip
_FIELDS = sorted({name for model in _MODELS for name in model.model_fields})

_RESERVED = frozenset(
    {"host", "port", "proxy_port", "rpc_port", "diagnostics_port", "member_name", "routes", "backends", "members"}
    # They are a process's, and components share one unless told otherwise: --log-level is for all.
    | {"log_level", "log_json"}
)
"""Settings of components that the engine gives itself."""


def _reserved(settings: type[ComponentSettings]) -> frozenset[str]:
    """And those of certificates: the engine dials its components without, on this machine's own loopback."""
    return _RESERVED.union(*(group.values() for group in tls_groups(settings.model_fields).values()))


class SpecError(Exception):
    """The file is wrong: "FILE:LINE: field: reason", one line for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A good file: what it says, and the routing table that follows from it."""

    spec: FleetSpec
    table: RoutingTable
    directory: FilePath
    files: frozenset[FilePath] = frozenset()
    """Files that are a part of it: bodies of answers."""


def load_spec(path: FilePath) -> SpecFile:
    """Read and check the file. Raises SpecError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise SpecError(f"{path}: is larger than {MAX_FILE_BYTES} bytes")
        text = data.decode()
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not UTF-8 text") from error
    return parse_spec(text, path)


def parse_spec(text: str, path: FilePath) -> SpecFile:
    """Check the text of a file that lies at path. Raises SpecError."""
    try:
        return _checked(parse_document(text), path.resolve().parent)
    except DocumentError as error:
        raise SpecError(f"{path}:{error}") from error


def _checked(document: Document, directory: FilePath) -> SpecFile:
    if not isinstance(document.value, dict):
        raise DocumentError(document.line(()), "", "the file should be a mapping with the key apps")
    try:
        spec = FleetSpec.model_validate(document.value)
    except ValidationError as error:
        raise _first(error, document) from error
    interceptor = _settings("interceptor", spec.interceptor, InterceptorSettings, document)
    scaler = _settings("scaler", spec.scaler, ScalerSettings, document)
    spec = spec.model_copy(update={"interceptor": interceptor, "scaler": scaler})
    _check_names(spec, document)
    _check_directories(spec, document, directory)
    _check_fallbacks(spec, document)
    contents = _contents(spec, document, directory)
    files = frozenset(directory / name for name in contents)
    return SpecFile(spec=spec, table=_table(spec, document, contents), directory=directory, files=files)


def _first(error: ValidationError, document: Document) -> DocumentError:
    """The fault that stands first in the file, for people mend files from the top; what is missing may be misspelt."""
    faults = [_fault(detail, document) for detail in error.errors(include_url=False, include_input=False)]
    return min(faults, key=lambda fault: (fault.reason == MISSING, fault.line))


def _fault(detail: ErrorDetails, document: Document) -> DocumentError:
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    if field := detail.get("ctx", {}).get("field"):
        path = (*path, str(field))
    reason = reason_of(detail)
    if detail["type"] == "extra_forbidden":
        reason += _suggestion(str(path[-1]), _FIELDS)
    return DocumentError(document.line(path), field_name(path), reason)


def _suggestion(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, [other for other in known if other != name], n=1)  # its own name may be one elsewhere
    return f"; did you mean {near[0]}?" if near else ""


def _settings(kind: str, given: dict[str, Any], settings: type[ComponentSettings], document: Document) -> dict[str, Any]:
    """Only what the file says: what the environment says is checked by the component itself."""
    checked: dict[str, Any] = {}
    reserved = _reserved(settings)
    for name, value in given.items():
        path = (kind, name)
        if name not in settings.model_fields or name in reserved:
            known = sorted(set(settings.model_fields) - reserved)
            raise _misrouted(document, path, f"is not a setting that a file may give{_suggestion(name, known)}")
        try:
            checked[name] = _setting(name, settings.model_fields[name]).validate_python(value)
        except ValidationError as error:
            raise _misrouted(document, path, reason_of(error.errors(include_url=False)[0])) from error
    return checked


def _setting(name: str, field: FieldInfo) -> TypeAdapter[Any]:
    """The type of a setting, for which a file may write what it may write anywhere: 10s, 16Mi."""
    written: Any = field.annotation
    if field.annotation is float:  # seconds, all of them
        written = Annotated[float, BeforeValidator(seconds)]
    elif name.endswith("_bytes"):
        written = Annotated[int, BeforeValidator(as_octets)]
    return TypeAdapter(Annotated[written, *field.metadata] if field.metadata else written)


def _check_names(spec: FleetSpec, document: Document) -> None:
    seen: dict[str, int] = {}
    for index, app in enumerate(spec.apps):
        first = seen.setdefault(app.key, index)
        if first != index:
            path = ("apps", index, "name")
            raise DocumentError(document.line(path), field_name(path), f"{app.key} is already apps[{first}]")


def _check_directories(spec: FleetSpec, document: Document, base: FilePath) -> None:
    for index, app in enumerate(spec.apps):
        if not _is_directory(app, base):
            raise _misrouted(document, ("apps", index, "cwd"), f"{app.cwd or base} is not a directory")


def _is_directory(app: AppSpec, base: FilePath) -> bool:
    try:
        return app.directory(base).is_dir()
    except (OSError, RuntimeError):  # a name too long, or the home of nobody
        return False


def _check_fallbacks(spec: FleetSpec, document: Document) -> None:
    known = {app.key for app in spec.apps}
    for index, app in enumerate(spec.apps):
        if app.fallback_key is not None and app.fallback_key not in known:
            path = ("apps", index, "fallback")
            reason = f"there is no app {app.fallback_key}{_suggestion(app.fallback_key, sorted(known))}"
            raise DocumentError(document.line(path), field_name(path), reason)


def _contents(spec: FleetSpec, document: Document, directory: FilePath) -> dict[str, bytes]:
    """What the files hold that answers name."""
    contents: dict[str, bytes] = {}
    for index, app in enumerate(spec.apps):
        for path, name in app.files():
            if name not in contents:
                contents[name] = _content(directory / name, document, ("apps", index, *path))
    return contents


def _content(file: FilePath, document: Document, path: Path) -> bytes:
    try:
        if not file.is_file():  # of a pipe or a device, whoever reads waits or never ends
            raise _misrouted(document, path, f"{file} is not a file" if file.exists() else f"{file}: No such file or directory")
        with file.open("rb") as opened:
            data = opened.read(MAX_ANSWER_BYTES + 1)
    except OSError as error:
        raise _misrouted(document, path, f"{file}: {error.strerror or error}") from error
    if len(data) > MAX_ANSWER_BYTES:
        raise _misrouted(document, path, f"{file} is larger than {MAX_ANSWER_BYTES} bytes")
    return data


def _table(spec: FleetSpec, document: Document, contents: Mapping[str, bytes]) -> RoutingTable:
    index = {app.key: at for at, app in enumerate(spec.apps)}
    try:
        table = RoutingTable(app.route(contents) for app in spec.apps)
    except RouteError as error:
        at = index[error.app]
        raise _misrouted(document, ("apps", at, *_written(error.field, spec.apps[at])), error.reason) from error
    for conflict in table.conflicts:
        first, second = sorted((index[conflict.app], index[conflict.winner]))
        raise _misrouted(document, ("apps", second), f"asks for the same requests as apps[{first}]: {conflict.claim}")
    return table


def _misrouted(document: Document, path: Path, reason: str) -> DocumentError:
    return DocumentError(document.line(path), field_name(path), reason)


_WRITTEN = (
    (re.compile(r"^scaling\.concurrency$"), "target"),
    (re.compile(r"^(scaling|protection)\."), ""),
    (re.compile(r"^cold_start\.placeholder\.response"), "placeholder"),
    (re.compile(r"^cold_start\.overflow_placeholder$"), "placeholder.when_full"),
    (re.compile(r"^cold_start\.fallback.*"), "fallback"),
    (re.compile(r"^cold_start$"), "placeholder"),
    (re.compile(r"^cold_start\."), ""),
    (re.compile(r"^static_routes(\[\d+\])\.response\.headers.*"), r"static\1.response_headers"),
    (re.compile(r"^static_routes(\[\d+\])\.(response|rules\[0\])"), r"static\1"),
    (re.compile(r"^static_routes"), "static"),
    (re.compile(r"^((placeholder|maintenance)\.headers).*"), r"\1"),
)
"""What a route calls a field, and what the file does."""
_WRITTEN_SHORT = ((re.compile(r"^rules\[\d+\]\."), ""), *_WRITTEN)
"""The same for an app that gives its hosts and paths without rules."""
_PART = re.compile(r"[^.\[\]]+")


def _written(field: str, app: AppSpec) -> Path:
    """Where the file says what a route calls "scaling.rate.window" or "rules[0].hosts[1]"."""
    for pattern, name in _WRITTEN if app.rules else _WRITTEN_SHORT:
        field = pattern.sub(name, field)
    return tuple(int(part) if part.isdigit() else part for part in _PART.findall(field))
