"""Reads and checks the file of apps, and reports every error with its line.

Returns a valid file as a whole, or all errors; never a part of it. Starts nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from fleet.routing.check import check_route
from fleet.routing.check_answers import MAX_ANSWER_BYTES
from fleet.routing.dependencies import MAX_OF_NAMESPACE, in_words
from fleet.routing.route import Route
from fleet.routing.table import RouteError, RoutingTable
from fleet.routing.target import MAX_CA_BYTES, Target
from fleet.runtime.files import read_regular
from weir.engine.copies import copies_of, named_copies
from weir.engine.document import DocumentError, Fault, Path, field_name, parse_document
from weir.engine.envfile import EnvFileError, parse_env
from weir.engine.fields import EXTENSION
from weir.engine.findings import Findings
from weir.engine.leased_ports import settle, with_leases
from weir.engine.leases import LocalLeases
from weir.engine.messages import reason_of, suggestion
from weir.engine.portmap import collisions, owners
from weir.engine.settingtypes import PATHS, SETTINGS, fault_of, instead_of, names_in, setting_types
from weir.engine.spec import AppSpec, Check, FleetSpec
from weir.engine.targetspec import Contents
from weir.engine.validated import validated

__all__ = ["STDIN", "SpecError", "SpecFile", "digest_of", "load_spec", "parse_spec"]

STDIN = FilePath("-")
"""The path that means standard input, which is read once."""
MAX_FILE_BYTES = 4 * 1024 * 1024
"""Bytes: enough for ten thousand apps. A larger file was probably named by mistake."""
MAX_ENV_BYTES = 128 * 1024
"""The most that Linux passes to a process in one variable; files of variables are smaller than that."""
MAX_ERRORS = 100
"""Maximum number of reported errors. Whoever has corrected these runs the check again."""


class SpecError(Exception):
    """The file is invalid: one line "FILE:LINE: field: reason" for each error."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)

    @classmethod
    def of(cls, file: FilePath, faults: Sequence[Fault]) -> SpecError:
        lines = [f"{file}:{fault}" for fault in faults[:MAX_ERRORS]]
        if len(faults) > MAX_ERRORS:
            lines.append(f"{file}: and {len(faults) - MAX_ERRORS} more errors")
        return cls(lines)


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A valid file: its content, and the routing table made of it."""

    spec: FleetSpec
    table: RoutingTable
    directory: FilePath
    files: frozenset[FilePath] = frozenset()
    """Files that it names: bodies of answers, and variables."""
    digest: str = ""
    """Of its text: which version of the file this is."""
    leases: LocalLeases = dataclasses.field(default_factory=partial(LocalLeases, ""))
    """The ports of its leases; the same for all versions of a file that an engine reads."""
    copies: frozenset[str] = frozenset()
    """Apps that are previews of others. They stand behind the apps of the file, within which they are written."""


def digest_of(text: str) -> str:
    """What tells versions of a file apart."""
    return hashlib.sha256(text.encode()).hexdigest()


def load_spec(path: FilePath, leases: LocalLeases | None = None, check: Check | None = None) -> SpecFile:
    """Read and check the file, or standard input. Raises SpecError."""
    try:
        return parse_spec(_read(path).decode(), path, leases, check)
    except OSError as error:
        raise SpecError([f"{path}: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise SpecError([f"{path}: is not UTF-8 text"]) from error


def _read(path: FilePath) -> bytes:
    if path == STDIN:
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise SpecError([f"{path}: is larger than {MAX_FILE_BYTES} bytes"])
    return data


def parse_spec(text: str, path: FilePath, leases: LocalLeases | None = None, check: Check | None = None) -> SpecFile:
    """Check the text of the file at `path`; relative paths in it are resolved from its directory, or from the working directory
    if it came from standard input. `check` has the last word: only what it accepts changes leases. Raises SpecError."""
    try:
        document = parse_document(text)
    except DocumentError as error:
        raise SpecError.of(path, [error.fault]) from error
    findings = Findings(document)
    if not isinstance(document.value, dict):
        findings.add((), "the file should be a mapping with the key apps")
        raise SpecError.of(path, findings.faults)
    spec = validated(document.value, findings)
    leases = LocalLeases(str(path.resolve())) if leases is None else leases
    file = None if spec is None else _Checked(spec, findings, path.resolve().parent, leases).file()
    try:
        if findings.faults or file is None:
            raise SpecError.of(path, findings.faults)
        if check is not None:
            check(file.spec)
    except SpecError:
        leases.forget()
        raise
    settle(file.spec, leases)
    return replace(file, digest=digest_of(text), leases=leases)


class _Checked:
    """Checks of more than single values: named files, references between apps, and conflicts between them."""

    def __init__(self, spec: FleetSpec, findings: Findings, directory: FilePath, leases: LocalLeases) -> None:
        self._findings, self._directory, self._leases = findings, directory, leases
        self._files: dict[str, bytes | None] = {}
        """Contents by file name; None if a file could not be read."""
        settings = {kind: self._settings(kind, getattr(spec, kind)) for kind in SETTINGS}
        apps = [self._with_env_files(app, ("apps", index)) for index, app in enumerate(spec.apps)]
        self._spec = spec.model_copy(update={**settings, "apps": with_leases(apps, spec, leases, findings)})

    def file(self) -> SpecFile:
        """The file; valid only if there are no findings afterwards."""
        self._check_ports()
        names = self._check_names()
        unsure = [index for index in range(len(self._spec.apps)) if any(self._unsure(index))]
        for index, app in enumerate(self._spec.apps):
            self._check_directory(app, ("apps", index, "cwd"))
            if (key := app.fallback_key) is not None and key not in names:
                self._check_named(index, ("fallback",), key, unsure, names, own=key.startswith(f"{app.namespace}/"))
            for field, key in app.backend_keys():
                if key not in names:
                    self._check_named(index, field, key, unsure, names, own=key.startswith(f"{app.namespace}/"))
            for position, needed in enumerate(app.depends_on):
                key = needed.dependency(app.namespace).app
                if key not in names and not needed.optional and key.startswith(f"{app.namespace}/"):
                    self._check_named(index, ("depends_on", position), key, unsure, names, own=True)
        table = self._table([*names.values()])
        copies = [copy for index, app in enumerate(self._spec.apps) for copy in self._copies(app, index, names)]
        files = frozenset(self._directory / name for name in self._files)
        spec = self._spec.model_copy(update={"apps": [*self._spec.apps, *copies]})
        return SpecFile(spec, table, self._directory, files, copies=frozenset(copy.key for copy in copies))

    def _copies(self, app: AppSpec, index: int, names: Mapping[str, int]) -> Iterator[AppSpec]:
        """The previews of an app."""
        for copy, where in copies_of(app):
            at: Path = ("apps", index, *where)
            if copy.key in names:
                self._findings.add(at, f"would be {copy.key}, which is apps[{names[copy.key]}]")
            self._check_directory(copy, (*at, "cwd"))
            env = self._with_env_files(copy, at).env
            yield copy.model_copy(update={"env": {**app.env, **env}})

    def _settings(self, kind: str, given: dict[str, Any]) -> dict[str, Any]:
        """The checked settings of the file. Those of the environment are checked by the component."""
        checked: dict[str, Any] = {}
        if not given:
            return checked
        types = setting_types(kind)
        for name, value in given.items():
            if name.startswith(EXTENSION):
                continue
            if name not in types:
                instead = instead_of(kind, name)
                hint = f"; {instead}" if instead else suggestion(name, sorted(types))
                self._findings.add((kind, name), f"is not a setting that a file may give{hint}")
                continue
            try:
                checked[name] = types[name].validate_python(value)
            except ValidationError as error:
                self._findings.add((kind, name), reason_of(error.errors(include_url=False)[0]))
                continue
            if name in PATHS:
                checked[name] = self._from_directory((kind, name), checked[name])
        sure = not any(self._findings.doubts((kind, name)) for name in given)
        if sure and (fault := fault_of(kind, checked, certificates=True)):
            self._findings.add((kind, fault[0]), fault[1])
        return checked

    def _from_directory(self, at: Path, text: str) -> str:
        """Names of files and directories, separated by commas, as the components find them. Those that are missing are
        reported."""
        found = [self._directory / name for name in names_in(str(at[-1]), text)]
        for path in found:
            if not path.exists():
                self._findings.add(at, f"{path}: No such file or directory")
        return ",".join(map(str, found))

    def _with_env_files(self, app: AppSpec, at: Path) -> AppSpec:
        env: dict[str, str] = {}
        for position, name in enumerate(app.env_file):
            data = self._content(name, (*at, "env_file"), MAX_ENV_BYTES)
            if data is None:
                continue
            try:
                env |= parse_env(data.decode())
            except UnicodeDecodeError:
                self._findings.add((*at, "env_file", position), f"{name}: is not UTF-8 text")
            except EnvFileError as error:
                for line, reason in error.faults:
                    self._findings.note((*at, "env_file", position), f"{name}:{line}: {reason}")
        return app.model_copy(update={"env": {**env, **app.env}}) if env else app

    def _check_ports(self) -> None:
        for collision in collisions(owners(self._spec)):
            # If the number of interceptors is invalid, 1 is assumed: there is at least one, whatever the corrected number is.
            if not self._findings.doubts(collision.path, collision.beside):
                self._findings.add(collision.path, collision.reason)
        for owner in owners(self._spec):
            lease = self._leases.reserved(owner.protocol, owner.port)
            if lease is not None and not self._findings.doubts(owner.path):
                reason = f"port {owner.port} is leased as {lease.namespace}/{lease.name}: weir port release {lease.name} frees it"
                self._findings.add(owner.path, reason)

    def _check_names(self) -> dict[str, int]:
        """The position of each app by its key."""
        first: dict[str, int] = {}
        for index, app in enumerate(self._spec.apps):
            other = first.setdefault(app.key, index)
            path: Path = ("apps", index, "name")
            if other != index and not self._findings.doubts(path, ("apps", index, "namespace"), ("apps", other, "namespace")):
                self._findings.add(path, f"{app.key} is already apps[{other}]")
        return first

    def _check_directory(self, app: AppSpec, path: Path) -> None:
        if not self._findings.doubts(path) and not _is_directory(app, self._directory):
            self._findings.add(path, f"{app.cwd or self._directory} is not a directory")

    def _unsure(self, index: int) -> tuple[bool, bool]:
        """Whether an app's name may become another one, and whether its namespace may."""
        return self._findings.doubts(("apps", index, "name")), self._findings.doubts(("apps", index, "namespace"))

    def _check_named(
        self, index: int, field: Path, key: str, unsure: Sequence[int], known: Mapping[str, int], *, own: bool
    ) -> None:
        """Report an app that a field names and that is not in the file, unless it may be one of those with invalid names
        (`unsure`). `own`: it is in the namespace of the app that names it."""
        path: Path = ("apps", index, *field)
        if self._findings.doubts(path) or (own and self._unsure(index)[1]):
            return
        if not any(self._may_become(other, key) for other in unsure if other != index):
            self._findings.add(path, f"there is no app {key}{suggestion(key, sorted(known))}")

    def _may_become(self, index: int, key: str) -> bool:
        app, (any_name, any_namespace) = self._spec.apps[index], self._unsure(index)
        namespace, _, name = key.partition("/")
        return (any_name or app.name == name) and (any_namespace or app.namespace == namespace)

    def _content(self, name: str, path: Path, most: int) -> bytes | None:
        """The content of a file that is named at `path`; None if it could not be read, which is reported once."""
        if name not in self._files:
            try:
                self._files[name] = _file_content(self._directory / name, most)
            except ValueError as error:
                self._files[name] = None
                self._findings.add(path, str(error))
        if self._files[name] is None:
            self._findings.doubt(path)
        return self._files[name]

    def _table(self, indexes: Sequence[int]) -> RoutingTable:
        contents = self._contents()
        targets = {(app := self._spec.apps[index]).key: app.own_target(contents) for index in indexes}
        routes = [route for index in indexes if (route := self._route(index, contents, targets)) is not None]
        table = RoutingTable(routes)
        position = {self._spec.apps[index].key: index for index in indexes}
        previews = {key: (index, words) for index in indexes for key, words in named_copies(self._spec.apps[index])}
        position |= {key: index for key, (index, _) in previews.items()}
        for conflict in table.conflicts:
            first, second = sorted((position[conflict.app], position[conflict.winner]))
            preview = previews.get(conflict.app) or previews.get(conflict.winner)
            why = "" if preview is None else f" is the host of {preview[1]}"
            self._add_conflict(second, first, f"{conflict.claim}{why}")
        self._check_circles(table, position)
        return table

    def _check_circles(self, table: RoutingTable, position: Mapping[str, int]) -> None:
        """Report each circle of apps that need each other once, at the first of its apps; and dependencies beyond the most."""
        for index in sorted({position[app] for app in table.dependencies.too_many}):
            most = f"the apps of a namespace can have {MAX_OF_NAMESPACE} dependencies together, their previews included"
            self._findings.add(("apps", index, "depends_on"), most)
        for circle in dict.fromkeys(table.dependencies.circles.values()):
            path: Path = ("apps", min(position[app] for app in circle), "depends_on")
            if not self._findings.doubts(path):
                self._findings.add(path, f"is a circle: {in_words(circle)}")

    def _contents(self) -> Mapping[str, bytes]:
        """The contents of the files used as bodies of answers. A file that cannot be read is reported, and its content is
        empty."""
        contents: dict[str, bytes] = {}
        for index, app in enumerate(self._spec.apps):
            for path, name in app.files():
                contents[name] = self._content(name, ("apps", index, *path), MAX_ANSWER_BYTES) or b""
            for path, name in app.authority_files():
                contents[name] = self._content(name, ("apps", index, *path), MAX_CA_BYTES) or b""
        return contents

    def _route(self, index: int, contents: Contents, targets: Mapping[str, Target]) -> Route | None:
        app = self._spec.apps[index]
        route = app.route(contents, lambda key: targets.get(key) or Target(key))
        try:
            check_route(route)
            self._check_authorities(app, route, contents)
        except RouteError as error:
            path: Path = ("apps", index, *_written(error.field, app))
            if not self._findings.doubts(path):
                self._findings.add(path, error.reason)
            return None
        return route

    @staticmethod
    def _check_authorities(app: AppSpec, route: Route, contents: Contents) -> None:
        """Raises RouteError for authorities of its own that cannot be read. Those of other apps are told where these say them."""
        for path, name in app.authority_files():
            from fleet.runtime import pem  # noqa: PLC0415  # what it imports costs memory, and most files have no authorities

            if not pem.are_authorities(contents[name]):
                raise RouteError(route.app, field_name(path), "has no certificates in PEM that can be read")

    def _add_conflict(self, second: int, first: int, claim: str) -> None:
        ways = [("apps", index, way) for index in (first, second) for way in WAYS]
        if not self._findings.doubts(*ways):
            whom = f"apps[{first}]" if first != second else "itself"
            self._findings.note(("apps", second), f"asks for the same requests as {whom}: {claim}")


def _is_directory(app: AppSpec, base: FilePath) -> bool:
    try:
        return app.directory(base).is_dir()
    except (OSError, RuntimeError):  # the name is too long, or ~user has no home
        return False


def _file_content(file: FilePath, most: int) -> bytes:
    """Raises ValueError."""
    try:
        return read_regular(file, most)
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror or error}") from error


WAYS = ("hosts", "paths", "headers", "methods", "rules", "ports")
"""Fields that say what an app gets."""
_WRITTEN = (
    (re.compile(r"^target\.(?=host|port|addresses|service|direct)"), "outside."),
    (re.compile(r"^target\."), ""),
    (re.compile(r"^scaling\.concurrency$"), "target"),
    (re.compile(r"^(scaling|protection)\."), ""),
    (re.compile(r"^cold_start\.placeholder\.response"), "placeholder"),
    (re.compile(r"^cold_start\.overflow_placeholder$"), "placeholder.when_full"),
    (re.compile(r"^cold_start\.fallback"), "fallback"),
    (re.compile(r"^cold_start$"), "placeholder"),
    (re.compile(r"^cold_start\."), ""),
    (re.compile(r"^static_routes(\[\d+\])\.response\.headers.*"), r"static\1.response_headers"),
    (re.compile(r"^static_routes(\[\d+\])\.(response|rules\[0\])"), r"static\1"),
    (re.compile(r"^static_routes"), "static"),
    (re.compile(r"^((placeholder|maintenance)\.headers).*"), r"\1"),
    (re.compile(r"^depends_on(\[\d+\])\.app"), r"depends_on\1"),
    (re.compile(r"\btls\.ca_bundle$"), "tls.ca"),
    (re.compile(r"\btls\.insecure_skip_verify$"), "tls.skip_verify"),
)
"""The name of a field in a route, and in the file."""
_WRITTEN_SHORT = ((re.compile(r"^rules\[\d+\]\."), ""), *_WRITTEN)
"""The same for an app that gives its hosts and paths without rules."""
_PART = re.compile(r"[^.\[\]]+")


def _written(field: str, app: AppSpec) -> Path:
    """The path in the file of a field that a route calls "scaling.rate.window" or "rules[0].hosts[1]"."""
    if app.fallback_key is not None and field.startswith("cold_start.fallback."):
        field = "cold_start.fallback"  # which is an app: the rest stands there
    for pattern, name in _WRITTEN if app.rules else _WRITTEN_SHORT:
        field = pattern.sub(name, field)
    return tuple(int(part) if part.isdigit() else part for part in _PART.findall(field))
