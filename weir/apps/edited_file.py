"""Changes the file of a running `weir up`: read, changed, checked as `weir up` checks it, and replaced as a whole.

Commands of this kind wait for each other by a lock on the file's directory. An editor takes no lock, so the file is compared once
more right before it is replaced, and the change is made again if it is another one. An invalid file stays as it is, and so
does a valid one that the change would make invalid.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from weir.apps.failure import CONFLICT, INVALID, NOT_DONE, NotDoneError
from weir.apps.file_edit import CannotEditError
from weir.engine.specfile import STDIN, SpecError, SpecFile, digest_of, parse_spec

__all__ = ["Edited", "change_file", "digest_now"]

LOCK_SECONDS = 10.0
LOCK_PAUSE = 0.05
ATTEMPTS = 5
"""An editor that saves more often than that within milliseconds is a program, which will not stop."""

Change = Callable[[str, SpecFile], str]
"""The new text of the file, given the old one and what it says. May raise CannotEditError and NotDoneError."""


@dataclass(frozen=True, slots=True)
class Edited:
    """The file before and after."""

    before: str
    after: str
    file: SpecFile


def change_file(path: Path, change: Change, *, write: bool = True) -> Edited:
    """Change the file, or, without `write`, only say what it would be. Raises NotDoneError."""
    if path == STDIN:
        raise NotDoneError("this weir up has read its apps from standard input: there is no file to change")
    try:
        real = path.resolve(strict=True)
        with _locked(real.parent):
            for _ in range(ATTEMPTS):
                data = real.read_bytes()
                edited = _edited(path, data, change)
                if not write or edited.after == edited.before or _replaced(real, data, edited.after.encode()):
                    return edited
    except OSError as error:
        raise NotDoneError(f"{path}: {error.strerror or error}; it is left as it is", code=NOT_DONE) from error
    raise NotDoneError(f"{path}: another program keeps changing it", code=CONFLICT)


def digest_now(path: Path) -> str:
    """Of the file as it is now; "" if it cannot be read."""
    try:
        return digest_of(path.read_bytes().decode())
    except (OSError, ValueError):
        return ""


def _edited(path: Path, data: bytes, change: Change) -> Edited:
    try:
        before = data.decode()
        file = parse_spec(before, path)
    except UnicodeDecodeError as error:
        raise NotDoneError(f"{path}: is not UTF-8 text; it is left as it is", code=INVALID) from error
    except SpecError as error:
        raise NotDoneError(*error.lines, f"{path}: is invalid already, and is left as it is", code=INVALID) from error
    try:
        after = change(before, file)
    except CannotEditError as error:
        raise NotDoneError(f"{path}: {error}; it is left as it is", code=INVALID) from error
    try:
        return Edited(before, after, parse_spec(after, path))
    except SpecError as error:
        raise NotDoneError(*(_field(line, path) for line in error.lines), code=INVALID) from error


def _field(line: str, path: Path) -> str:
    """A fault of the file that would be: "FILE:LINE: apps[1].max: reason" without its place, as there is no such line yet."""
    _, _, fault = line.removeprefix(f"{path}:").partition(": ")
    head, dot, rest = fault.partition("].")
    return rest if dot and head.startswith("apps[") and head[5:].isdigit() else fault or line


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise NotDoneError(f"{directory}: another command is changing a file there", code=CONFLICT) from error
                time.sleep(LOCK_PAUSE)
        yield
    finally:
        os.close(held)


def _replaced(path: Path, before: bytes, after: bytes) -> bool:
    """Whether the file was still the same, and is the new one now. Its owner and permissions are kept."""
    status = path.stat()
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(after)
            file.flush()
            with suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            os.fsync(file.fileno())
        if path.read_bytes() != before:
            return False
        fresh.replace(path)
        return True
    finally:
        fresh.unlink(missing_ok=True)
