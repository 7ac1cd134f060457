"""The commands of `weir app`: what is done where, and what is printed of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet.runtime.terminal import complain, say
from weir.apps.backend import Backend, How, Result
from weir.apps.failure import INTERRUPTED, INVALID, NOT_YET, NotDoneError, UsageError
from weir.apps.output import print_fields, print_table, print_value
from weir.apps.plain import NotPlainError, plain
from weir.apps.progress import Steps
from weir.apps.where import Where, opened

__all__ = ["read_document", "run_change", "run_list", "run_logs", "run_show"]

MAX_DOCUMENT_BYTES = 256 * 1024
"""As much as the Admin API takes."""

Change = Callable[[Backend, How], Result]


def run_change(where: Where, name: str, change: Change, output: str, **how: Any) -> int:
    """Make a change, telling how far it is; returns the exit code."""

    def act(backend: Backend) -> int:
        with Steps() as steps:
            result = change(backend, How(steps=steps, **how))
        for line in result.warnings:
            complain(line)
        if output == "text":
            if result.summary:
                say(result.summary)
            for line in result.lines:
                say(line)
            if not result.summary and not result.lines:
                print_value(result.value, "yaml")
        elif result.value is not None:
            print_value(result.value, output)
        return 0 if result.is_reached else NOT_YET

    return _at(where, name, act)


def run_list(where: Where, output: str) -> int:
    def act(backend: Backend) -> int:
        apps = backend.apps()
        if output != "text":
            print_value([*apps], output)
        elif apps:
            print_table(backend.columns(), map(backend.row, apps))
        else:
            complain("there are no apps")
        return 0

    return _at(where, "", act)


def run_show(where: Where, name: str, output: str, *, document: bool) -> int:
    def act(backend: Backend) -> int:
        app = backend.app(name)
        if document:
            print_value(backend.document(app), "yaml" if output == "text" else output)
        elif output != "text":
            print_value(app, output)
        else:
            print_fields(f"{app.get('namespace')}/{app.get('name')}", backend.fields(app))
            if rows := backend.details(app):
                say("")
                print_table(rows[0], rows[1:])
        return 0

    return _at(where, name, act)


def run_logs(where: Where, name: str, *, follow: bool, lines: int, since: float | None) -> int:
    def act(backend: Backend) -> int:
        for line in backend.logs(name, follow=follow, lines=lines, since=since):
            say(line)
        return 0

    return _at(where, "", act)


def _at(where: Where, name: str, act: Callable[[Backend], int]) -> int:
    """Do something where the apps are, and say on standard error where that is. Nothing but the exit code tells of errors."""
    open_question = ""
    try:
        with opened(where) as backend:
            complain(f"on {backend.place}")
            try:
                return act(backend)
            except KeyboardInterrupt:
                open_question = backend.interrupted(name) if name else ""
                raise
            except NotDoneError as error:
                if name and error.code == NOT_YET and (more := backend.interrupted(name)):
                    raise NotDoneError(*error.lines, more, code=NOT_YET) from error
                raise
    except KeyboardInterrupt:
        complain("interrupted" + (f": {open_question}" if open_question else ""))
        return INTERRUPTED
    except NotDoneError as error:
        for line in error.lines:
            complain(line)
        return error.code


def read_document(file: Path, name: str | None) -> dict[str, Any]:
    """A file of fields, of the app `name` if it is one: YAML or JSON. Raises NotDoneError."""
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
        else:
            with file.open("rb") as opened_file:
                data = opened_file.read(MAX_DOCUMENT_BYTES + 1)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise NotDoneError(f"{file}: is larger than {MAX_DOCUMENT_BYTES} bytes", code=INVALID)
        document = plain(data.decode())
    except OSError as error:
        raise NotDoneError(f"{file}: {error.strerror or error}", code=INVALID) from error
    except NotPlainError as error:
        raise NotDoneError(f"{file}: cannot be read: {error}", code=INVALID) from error
    except UnicodeDecodeError as error:
        raise NotDoneError(f"{file}: is no text: {error}", code=INVALID) from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise NotDoneError(f"{file}: should be a mapping of fields", code=INVALID)
    if name is not None and document.get("name", name) != name:
        raise UsageError(f"{file}: is of an app {document['name']}, not {name}")
    return document
