"""Apps of a running `weir up`: what they are is in its file, how they are is asked of its page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

import httpx

from weir.apps.backend import How, Result, View
from weir.apps.edited_file import Edited, change_file, digest_now
from weir.apps.failure import CONFLICT, INVALID, NOT_DONE, NOT_FOUND, NOT_YET, UNREACHABLE, NotDoneError, UsageError
from weir.apps.file_edit import REMOVED, with_app, with_changes, without_app
from weir.apps.given import Given, flag_of, local_changes
from weir.apps.needs import words_of
from weir.engine.document import DocumentError, parse_document
from weir.engine.document import Path as Place
from weir.engine.fields import EXTENSION
from weir.engine.spec import AppSpec
from weir.engine.specfile import STDIN, SpecFile
from weir.local import EngineError, EngineRefused, EngineSilent, ask_engine, engine_client, engine_with
from weir.running import Running, engines

__all__ = ["Here"]

PAUSE = 0.1
"""Seconds between two looks at an engine that is waited for. It sees a change of its file at once."""
NAMESPACE = "default"
_WAYS = ("hosts", "paths", "headers", "methods", "rules")
"""Fields that say whose requests an app gets; one of them is needed."""


class Here:
    """The apps of every running `weir up`, or of the one that runs the file `of`."""

    def __init__(self, of: Path | None, namespace: str | None) -> None:
        self._of, self._namespace = of, namespace
        self._changed = False

    @property
    def place(self) -> str:
        return ", ".join(f"weir up {engine.file}" for engine in engines(self._of)) or "weir up"

    def create(self, name: str, given: Given, how: How) -> Result:
        engine = self._only()
        changes = local_changes(given)
        namespace, _, bare = self._key(name).rpartition("/")
        fields: dict[str, Any] = {"name": bare}
        for path, value in changes.items():
            _put(fields, path, value)
        if not any(fields.get(way) for way in _WAYS):
            fields["hosts"] = [f"{bare}.localhost"]
        was_there = False

        def change(text: str, file: SpecFile) -> str:
            nonlocal was_there
            index = _index(file, f"{namespace}/{bare}")
            if file.spec.defaults.get("namespace", NAMESPACE) != namespace:
                fields["namespace"] = namespace
            if index is None:
                return with_app(text, fields)
            was_there = True
            if _own(text, index) != fields:
                raise NotDoneError(
                    f"{namespace}/{bare} exists and says something else: weir app update changes it", code=CONFLICT
                )
            return text

        return self._made(
            engine, f"{namespace}/{bare}", change, how, lambda: "is there already, and is the same" if was_there else "is created"
        )

    def update(self, name: str, given: Given, how: How) -> Result:
        engine, key = self._having(name)
        changes = local_changes(given)
        for typed in given.unset:
            path = tuple(typed.split("."))
            if not _is_known(path[0]):
                raise NotDoneError(f"{typed}: is not a field", code=INVALID)
            changes[path] = REMOVED
        namespace, _, bare = key.rpartition("/")
        for field, now in (("name", bare), ("namespace", namespace)):
            if changes.get((field,), now) != now:
                raise NotDoneError(f"{field}: an app cannot be renamed: create another one, and delete this one", code=INVALID)

        def change(text: str, file: SpecFile) -> str:
            index = _found(file, key)
            if given.document is not None:
                kept = {"name", "namespace", *(path[0] for path in changes)}
                changes.update(
                    {(field,): REMOVED for field in _own(text, index) if field not in kept and not field.startswith(EXTENSION)}
                )
            return with_changes(text, index, changes)

        return self._made(engine, key, change, how, lambda: "is updated")

    def delete(self, name: str, how: How) -> Result:
        engine, key = self._having(name)

        def change(text: str, file: SpecFile) -> str:
            return without_app(text, _found(file, key))

        return self._made(engine, key, change, how, lambda: "is deleted", gone=True)

    def order(self, verb: str, name: str, how: How, *, duration: float | None) -> Result:
        if duration is not None:
            raise UsageError("--for: is for a cluster; here an app sleeps again after its cooldown")
        engine, key = self._having(name)
        summary = str(_asked(engine, verb, {"name": key})["told"])
        if not how.wait:
            return Result(summary=summary)
        how.steps.tell(summary)
        wanted, until = {"wake": "awake", "sleep": "asleep"}[verb], time.monotonic() + how.patience
        while True:
            view = self._view(engine, key)
            if view["state"] == wanted:
                return Result(summary=f"{key} is {wanted}", value=view, lines=[str(view["url"])] if view.get("url") else [])
            if view["state"] == "failing" or time.monotonic() > until:
                return Result(summary=summary, value=view, is_reached=False, warnings=[f"{key}: {view['reason']}"])
            time.sleep(PAUSE)

    def apps(self) -> Sequence[View]:
        found = [{**view, "file": engine.file} for engine in self._asked() for view in _asked(engine, "apps")["apps"]]
        return [view for view in found if self._namespace in (None, view["namespace"])]

    def columns(self) -> Sequence[str]:
        return ("NAME", "STATE", "REPLICAS", "URL", "REASON")

    def row(self, view: View) -> Sequence[str]:
        name = view["name"] if view["namespace"] == NAMESPACE else f"{view['namespace']}/{view['name']}"
        replicas = f"{view['replicas']['ready']}/{view['replicas']['wanted']}"
        reason = "" if view["reason"] in (view["state"], "ready") else str(view["reason"])
        return (str(name), str(view["state"]), replicas, str(view["url"]), reason)

    def app(self, name: str) -> View:
        engine, key = self._having(name)
        return {**self._view(engine, key), "app": _written(engine, key), "file": engine.file}

    def document(self, view: View) -> Any:
        if view["app"] is None:
            raise NotDoneError("this weir up has read its apps from standard input: they are in no file")
        return view["app"]

    def fields(self, view: View) -> Mapping[str, str]:
        command = (view["app"] or {}).get("command", "")
        return {
            "state": str(view["state"]),
            "reason": "" if view["reason"] == view["state"] else str(view["reason"]),
            "url": str(view["url"]),
            "command": command if isinstance(command, str) else " ".join(map(str, command)),
            "replicas": "{ready} ready of {wanted} wanted".format(**view["replicas"]) + f", from {view['min']} to {view['max']}",
            "demand": "unknown" if view["demand"] is None else str(view["demand"]),
            "needs": words_of((view["app"] or {}).get("depends_on")),
            "suggestion": str(view.get("suggestion", "")),
            "processes": " ".join(map(str, view["pids"])),
            "file": str(view["file"]),
        }

    def details(self, view: View) -> Sequence[Sequence[str]]:
        return ()

    def logs(self, name: str, *, follow: bool, lines: int, since: float | None) -> Iterator[str]:
        if since is not None:
            raise UsageError("--since: is for a cluster; --lines says how many")
        engine, key = self._having(name)
        body = {"name": key, "lines": lines, "follow": follow}
        try:
            with engine_client(engine, read=None) as client, client.stream("POST", "/logs", json=body) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise NotDoneError(f"weir up answers {answer.status_code}")
                for line in answer.iter_lines():
                    entry = json.loads(line)
                    yield f"[{entry['speaker']}] {entry['line']}"
        except httpx.HTTPError:
            return  # the engine has ended

    def interrupted(self, name: str) -> str:
        return f"the file is changed, and weir up follows it: weir app show {name} tells" if self._changed else ""

    def _made(
        self,
        engine: Running,
        key: str,
        change: Callable[[str, SpecFile], str],
        how: How,
        summary: Callable[[], str],
        *,
        gone: bool = False,
    ) -> Result:
        """Change the file, and wait until every interceptor serves it, or until the app is gone."""
        if how.if_match is not None:
            raise UsageError("--if-match: is for a cluster; commands on a file wait for each other")
        path = Path(engine.file)
        how.steps.tell(f"changing {path.name}")
        try:
            edited = change_file(path, change, write=not how.dry_run)
        except NotDoneError as error:
            if error.code == INVALID:
                raise NotDoneError(*map(flag_of, error.lines), code=INVALID) from error
            raise
        if how.dry_run:
            return Result(summary="", value=_difference(edited, path), lines=_difference(edited, path))
        self._changed = edited.after != edited.before
        if not how.wait:
            namespace, _, name = key.partition("/")
            value = {"namespace": namespace, "name": name, "app": _written(engine, key), "file": engine.file}
            return Result(summary=f"{key} {summary()}: {path}", value=value)
        self._followed(engine, path, edited, key if gone else None, how)
        self._changed = False
        view = None if gone else {**self._view(engine, key), "app": _written(engine, key), "file": engine.file}
        lines = [str(view["url"])] if view is not None and view["url"] else []
        return Result(summary=f"{key} {summary()}", value=view, lines=lines)

    def _followed(self, engine: Running, path: Path, edited: Edited, gone: str | None, how: How) -> None:
        until = time.monotonic() + how.patience
        while True:
            progress = _asked(engine, "file")
            is_current = progress["digest"] in (edited.file.digest, digest_now(path))
            if is_current and progress["served"] and gone not in progress["leaving"]:
                return
            if progress["complaint"] and not is_current:
                raise NotDoneError(*progress["complaint"], f"{path}: weir up does not take it", code=INVALID)
            if time.monotonic() > until:
                raise NotDoneError(f"{path} is changed, and weir up has not followed it after {how.patience:g} s", code=NOT_YET)
            if is_current and progress["served"]:
                how.steps.tell("waiting until its replicas have ended")
            else:
                how.steps.tell("waiting until every interceptor serves it" if is_current else "waiting for weir up to read it")
            time.sleep(PAUSE)

    def _key(self, name: str) -> str:
        namespace, slash, bare = name.rpartition("/")
        if slash and self._namespace not in (None, namespace):
            raise UsageError(f"{name}: is in another namespace than --namespace {self._namespace}")
        return f"{namespace if slash else self._namespace or NAMESPACE}/{bare}"

    def _asked(self) -> Sequence[Running]:
        found = engines(self._of)
        if not found:
            why = "no weir up runs here" if self._of is None else f"no weir up runs {self._of}"
            raise NotDoneError(f"{why}: weir up FILE starts one, and --cluster means a cluster")
        return found

    def _only(self) -> Running:
        found = self._asked()
        if len(found) > 1:
            raise NotDoneError(f"several weir up run here: --of FILE says which, {', '.join(one.file for one in found)}")
        return found[0]

    def _having(self, name: str) -> tuple[Running, str]:
        """The engine that has an app, and the app's key."""
        typed = name if "/" in name or self._namespace is None else f"{self._namespace}/{name}"
        self._asked()
        try:
            engine = engine_with(typed, self._of)
        except EngineError as error:
            raise NotDoneError(str(error), code=_code_of(error, NOT_FOUND)) from error
        keys = [f"{view['namespace']}/{view['name']}" for view in _asked(engine, "apps")["apps"]]
        fits = [key for key in keys if typed in (key, key.partition("/")[2])]
        if len(fits) > 1:
            raise NotDoneError(f"{name} may be {' or '.join(fits)}", code=CONFLICT)
        if not fits:
            raise NotDoneError(f"there is no app {name} in {engine.file}", code=NOT_FOUND)
        return engine, fits[0]

    @staticmethod
    def _view(engine: Running, key: str) -> dict[str, Any]:
        for view in _asked(engine, "apps")["apps"]:
            if f"{view['namespace']}/{view['name']}" == key:
                return dict(view)
        raise NotDoneError(f"there is no app {key} any more", code=NOT_FOUND)


def _asked(engine: Running, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    try:
        return ask_engine(engine, what, body)
    except EngineError as error:
        raise NotDoneError(str(error), code=_code_of(error, NOT_DONE)) from error


def _code_of(error: EngineError, otherwise: int) -> int:
    if isinstance(error, EngineRefused):
        return CONFLICT
    return UNREACHABLE if isinstance(error, EngineSilent) else otherwise


def _index(file: SpecFile, key: str) -> int | None:
    if key in file.copies:
        raise NotDoneError(f"{key} is a preview, which stands in the app that it is a copy of", code=NOT_DONE)
    return next((index for index, app in enumerate(file.spec.apps) if app.key == key), None)


def _found(file: SpecFile, key: str) -> int:
    index = _index(file, key)
    if index is None:
        raise NotDoneError(f"there is no app {key} in the file any more", code=NOT_FOUND)
    return index


def _own(text: str, index: int) -> dict[str, Any]:
    """The fields of an app as they are written."""
    app: dict[str, Any] = parse_document(text).value["apps"][index]
    return app


def _written(engine: Running, key: str) -> dict[str, Any] | None:
    """The fields of an app as they are in the file now; None if they cannot be read."""
    if engine.file == str(STDIN):
        return None
    try:
        apps = parse_document(Path(engine.file).read_text()).value["apps"]
        namespace, _, name = key.partition("/")
        fits = [app for app in apps if app.get("name") == name]
        exact = [app for app in fits if app.get("namespace", NAMESPACE) == namespace]
        return dict((exact or fits)[0])
    except (OSError, ValueError, DocumentError, LookupError, TypeError, AttributeError):
        return None


def _is_known(field: str) -> bool:
    """Whether an app may have it. Those of extensions may be taken out, too."""
    return field in AppSpec.model_fields or field.startswith(EXTENSION)


def _put(fields: dict[str, Any], path: Place, value: Any) -> None:
    at = fields
    for name in path[:-1]:
        inner = at.get(str(name))
        fresh = at[str(name)] = dict(inner) if isinstance(inner, dict) else {}
        at = fresh
    at[str(path[-1])] = value


def _difference(edited: Edited, path: Path) -> list[str]:
    name = str(path)
    return [
        line.rstrip("\n")
        for line in unified_diff(edited.before.splitlines(keepends=True), edited.after.splitlines(keepends=True), name, name)
    ]
