"""Runs every line of a Dockerfile without a container engine; an overlay over this machine's root stands for the base image.

Needs root (mounts, chroot) and PYTHON_BASE, the prefix of a Python of the base image's version. What the lines write goes to
memory and is gone afterwards. The last stage is run as its USER, without capabilities, on a root that cannot be written to.

    unshare --mount .venv/bin/python tools/try_image.py deploy/image/Dockerfile [ARGUMENT...]

Arguments replace CMD, as those of docker run do, and --entrypoint=PROGRAM before them replaces ENTRYPOINT. A base image of Go
stands for the Go of this machine, with its caches of modules and packages.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PASSED_ON = re.compile(r"PIP_|GO(PROXY|SUMDB|NOSUMDB|NOPROXY|PRIVATE)$|https?_proxy|no_proxy|SSL_CERT", re.IGNORECASE)
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_THE_USER = ("root/.cache/weir",)
"""What this machine's user has built of the repository's own tools, and no base image has."""


@dataclass
class Stage:
    """One FROM and what follows: its root, and what its lines have set so far."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH, "HOME": "/root"})
    directory: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def lines_of(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction and its arguments, with continued lines joined."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in kept.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), rest.strip()


class Trial:
    """The stages of one Dockerfile, each an overlay over this machine's root."""

    def __init__(self, context: Path, scratch: Path, python: Path) -> None:
        self._context = context
        self._scratch = scratch
        self._python = python
        self._stages: dict[str, Stage] = {}
        self._now: Stage | None = None

    @property
    def last(self) -> Stage:
        assert self._now is not None, "a Dockerfile begins with FROM"  # noqa: S101
        return self._now

    def follow(self, word: str, rest: str) -> None:
        """Do one instruction."""
        sys.stdout.write(f"{word} {rest}\n")
        getattr(self, f"_{word.lower()}")(rest)

    def run(self, argv: list[str], *, sealed: bool = False) -> int:
        """Run a command in the last stage; sealed: as its user, without capabilities, on a read-only root."""
        stage = self.last
        passed = {name: value for name, value in os.environ.items() if _PASSED_ON.match(name)}
        prefix = ["chroot", str(stage.root), "env", "-i", "-C", stage.directory]
        prefix += [f"{name}={value}" for name, value in {**passed, **stage.env}.items()]
        if sealed:
            user, _, group = stage.user.partition(":")
            prefix += ["setpriv", f"--reuid={user}", f"--regid={group or user}", "--clear-groups", "--no-new-privs"]
            prefix += ["--bounding-set=-all", "--inh-caps=-all"]
        return subprocess.run([*prefix, *argv], check=False).returncode  # noqa: S603

    def seal(self) -> None:
        _mount("-o", "remount,ro", str(self.last.root))

    def _from(self, rest: str) -> None:
        image, _, name = rest.partition(" AS ")
        layer = self._scratch / f"stage{len(self._stages)}"
        for part in ("upper", "work", "root"):
            (layer / part).mkdir(parents=True)
        root = layer / "root"
        _mount("-t", "overlay", "-o", f"lowerdir=/,upperdir={layer}/upper,workdir={layer}/work", "overlay", str(root))
        for kernel in ("proc", "dev"):
            _mount("--rbind", f"/{kernel}", str(root / kernel))
        for program in ("python", "python3", "pip"):
            link = root / "usr/local/bin" / program
            link.unlink(missing_ok=True)
            link.symlink_to(self._python / "bin" / ("pip3" if program == "pip" else "python3"))
        for built in _OF_THE_USER:
            shutil.rmtree(root / built, ignore_errors=True)
        for parent in self._python.parents:  # a home directory may be closed to the image's user
            (root / str(parent).lstrip("/")).chmod(0o755)
        self._now = Stage(root)
        if image.startswith("golang:"):
            self._now.env["PATH"] = f"{_directory_of_go()}:{_PATH}"
        self._stages[name or image] = self._now

    def _env(self, rest: str) -> None:
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self.last.env[name] = value.replace("$PATH", self.last.env["PATH"])

    def _workdir(self, rest: str) -> None:
        self.last.directory = rest
        self._inside(rest).mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str) -> None:
        words = shlex.split(rest)
        source = self._context
        if words[0].startswith("--from="):
            source = self._stages[words.pop(0).removeprefix("--from=")].root
        *paths, target = words
        goal = self._inside(target)
        (goal if target.endswith("/") else goal.parent).mkdir(parents=True, exist_ok=True)
        for path in paths:
            here = source / path.lstrip("/")
            subprocess.run(["cp", "-a", f"{here}/." if here.is_dir() else str(here), str(goal)], check=True)  # noqa: S603, S607

    def _run(self, rest: str) -> None:
        began = time.monotonic()
        if self.run(["sh", "-c", rest]) != 0:
            sys.exit(f"failed: RUN {rest}")
        sys.stdout.write(f"  # {time.monotonic() - began:.1f} s\n")

    def _user(self, rest: str) -> None:
        self.last.user = rest

    def _expose(self, _: str) -> None:
        """Says which ports there are; nothing to do."""

    def _entrypoint(self, rest: str) -> None:
        self.last.entrypoint = json.loads(rest)

    def _cmd(self, rest: str) -> None:
        self.last.command = json.loads(rest)

    def _inside(self, path: str) -> Path:
        return self.last.root / (Path(self.last.directory) / path).as_posix().lstrip("/")


def _directory_of_go() -> Path:
    go = shutil.which("go")
    if go is None:
        sys.exit("go is not installed, and stands for the base image of Go")
    return Path(go).resolve().parent


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)  # noqa: S603, S607


def main(argv: list[str]) -> int:
    if os.geteuid() != 0 or len(argv) < 2 or "PYTHON_BASE" not in os.environ:
        sys.exit(__doc__)
    _mount("--make-rprivate", "/")
    scratch = Path(tempfile.mkdtemp())
    _mount("-t", "tmpfs", "tmpfs", str(scratch))  # an overlay cannot lie within what it shows
    try:
        trial = Trial(Path.cwd(), scratch, Path(os.environ["PYTHON_BASE"]))
        for word, rest in lines_of(Path(argv[1]).read_text()):
            trial.follow(word, rest)
        trial.seal()
        arguments, entrypoint = argv[2:], trial.last.entrypoint
        if arguments and arguments[0].startswith("--entrypoint="):
            entrypoint = [arguments.pop(0).partition("=")[2]]
        command = [*entrypoint, *(arguments or trial.last.command)]
        sys.stdout.write(f"$ {shlex.join(command)}\n")
        sys.stdout.flush()
        return trial.run(command, sealed=True)
    finally:
        _mount_away(scratch)


def _mount_away(scratch: Path) -> None:
    subprocess.run(["umount", "--recursive", "--lazy", str(scratch)], check=False)  # noqa: S603, S607
    scratch.rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
