"""Builds etcd, the Kubernetes control plane, kubectl and KEDA from Go modules, once, into the user's cache.

`python -m tests.cluster.tools` builds missing programs and prints the directory; `require()` only checks. This module never runs
the programs, and never writes outside the cache. Each program is built in a small module of its own that repeats its project's
go.mod, to get the pinned dependencies, because Go ignores `replace` lines of published modules otherwise.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PROGRAMS", "GoMissing", "ToolsMissing", "build", "keda_crds", "require"]

ETCD = "v3.7.3"  # 3.5 makes kube-apiserver 1.35 refuse watches: "Too large resource version"
KUBERNETES = "v1.35.4"
STAGING = KUBERNETES.replace("v1.", "v0.", 1)  # k8s.io/api and its sibling modules are published under this number
GO = "1.26"
KEDA = "v2.21.0"  # the first with StreamMetricSpec
# Without debug information: half the size, and less time.
LINK = f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES} -X k8s.io/component-base/version.gitMajor=1 \
-X k8s.io/component-base/version.gitMinor=35"


PROGRESS = 30.0
"""Seconds between two progress lines during a build."""


class ToolsMissing(RuntimeError):
    """The control plane cannot be built, or is not built yet; the message says what to do."""


class GoMissing(ToolsMissing):
    """Go is not installed."""


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    module: str
    version: str
    package: str


PROGRAMS = (
    Program("etcd", "go.etcd.io/etcd/server/v3", ETCD, "go.etcd.io/etcd/server/v3"),
    Program("kubectl", "k8s.io/kubernetes", KUBERNETES, "k8s.io/kubernetes/cmd/kubectl"),
    Program("kube-apiserver", "k8s.io/kubernetes", KUBERNETES, "k8s.io/kubernetes/cmd/kube-apiserver"),
    Program("kube-controller-manager", "k8s.io/kubernetes", KUBERNETES, "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Program("keda-operator", "github.com/kedacore/keda/v2", KEDA, "github.com/kedacore/keda/v2/cmd/operator"),
    Program("keda-adapter", "github.com/kedacore/keda/v2", KEDA, "github.com/kedacore/keda/v2/cmd/adapter"),
)


def require() -> Path:
    """The directory of the built programs. Raises ToolsMissing if one is missing."""
    missing = [program.name for program in PROGRAMS if not (_bin() / program.name).is_file()]
    if missing or not keda_crds().is_dir():
        what = ", ".join(missing) or keda_crds().name
        raise ToolsMissing(f"{what} not built: run `make cluster-tools` (10 to 20 minutes on two cores, once)")
    return _bin()


def keda_crds() -> Path:
    """The directory of KEDA's custom resource definitions."""
    return _root() / "keda-crds"


def build() -> Path:
    """Builds missing programs, one after the other. A second caller waits; an interrupted build is continued by the next call."""
    with contextlib.suppress(ToolsMissing):
        return require()
    _bin().mkdir(parents=True, exist_ok=True)
    with _lock(_root() / "lock"):
        missing = [program for program in PROGRAMS if not (_bin() / program.name).is_file()]
        if missing:
            _check_go()
            _say(f"building {len(missing)} programs into {_root()}: 10 to 20 minutes on two cores, once")
        for number, program in enumerate(missing, 1):
            _build(program, f"[{number}/{len(missing)}]")
        if not keda_crds().is_dir():
            _copy_crds()
    return require()


def _copy_crds() -> None:
    # Copied to another name first, so that an incomplete copy is not taken for a complete one.
    aside = _root() / "src" / "keda-crds"
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(_module_directory("github.com/kedacore/keda/v2") / "config/crd/bases", aside, copy_function=shutil.copyfile)
    aside.chmod(0o755)  # files of the module cache are read-only
    aside.rename(keda_crds())


def _module_directory(module: str) -> Path:
    """Where the module cache holds the sources of one of our modules."""
    version = next(program.version for program in PROGRAMS if program.module == module)
    found = subprocess.run(
        [_go(), "mod", "download", "-json", f"{module}@{version}"], check=False, capture_output=True, text=True
    )
    directory = re.search(r'"Dir": "([^"]+)"', found.stdout)
    if found.returncode != 0 or directory is None:
        raise ToolsMissing(f"cannot fetch {module}@{version}: {(found.stderr or found.stdout).strip()}")
    return Path(directory[1])


def _root() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    recipe = "\n".join([LINK, *(f"{program.package}@{program.version}" for program in PROGRAMS)])
    return cache / "weir" / hashlib.sha256(recipe.encode()).hexdigest()[:12]


def _bin() -> Path:
    return _root() / "bin"


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise GoMissing(f"go is not installed; the control plane of the cluster tests is built with go {GO} or newer")
    return go


def _check_go() -> None:
    told = subprocess.run([_go(), "env", "GOVERSION"], env=_environment(), check=False, capture_output=True, text=True).stdout
    found = re.match(r"go(\d+)\.(\d+)", told)
    if found is None or (int(found[1]), int(found[2])) < tuple(map(int, GO.split("."))):
        raise GoMissing(f"go is {told.strip() or 'of no known version'}; the control plane needs go {GO} or newer")


def _environment() -> dict[str, str]:
    # GOGC: frequent garbage collection keeps the compiler below 2 GB. GOTOOLCHAIN: use the installed Go, do not download another.
    return {**os.environ, "CGO_ENABLED": "0", "GOGC": "50", "GOTOOLCHAIN": "local", "GOWORK": "off"}


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another build is running; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(program: Program, step: str) -> None:
    _say(f"{step} {program.name} {program.version}: building")
    began = time.monotonic()
    source = _source(program)
    built = source / program.name
    # -v prints each package that is compiled, which shows progress.
    build = [_go(), "build", "-v", "-mod=mod", "-p", "2", "-trimpath", "-ldflags", LINK, "-o", str(built), program.package]
    log = source / f"{program.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(["nice", "-n", "19", *build], cwd=source, env=_environment(), stdout=output, stderr=output)
        _follow(process, log, f"{step} {program.name}")
    if process.returncode != 0:
        raise ToolsMissing(f"cannot build {program.name}:\n{log.read_text(errors='replace').strip()[-4000:]}")
    built.replace(_bin() / program.name)
    _say(f"{step} {program.name}: done in {time.monotonic() - began:.0f} s")


def _follow(process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    """Print progress from time to time until the process ends. It is ended when this process ends."""
    began = time.monotonic()
    try:
        while True:
            try:
                process.wait(PROGRESS)
            except subprocess.TimeoutExpired:
                lines = log.read_text(errors="replace").splitlines()
                fetched = sum(line.startswith("go: downloading") for line in lines)
                compiled = len(lines) - fetched
                _say(f"{what}: {time.monotonic() - began:.0f} s; {fetched} modules fetched, {compiled} packages compiled")
            else:
                return
    finally:
        if process.poll() is None:
            process.terminate()


def _source(program: Program) -> Path:
    directory = _root() / "src" / program.module.replace("/", "_")
    directory.mkdir(parents=True, exist_ok=True)
    published = _module_directory(program.module)
    if not (directory / "go.mod").exists():
        shutil.copyfile(published / "go.sum", directory / "go.sum")
        (directory / "go.sum").chmod(0o644)
        (directory / "go.mod").write_text(_go_mod((published / "go.mod").read_text(), program))
    return directory


def _go_mod(text: str, program: Program) -> str:
    """The project's own go.mod under another module name, with local replacements changed to published modules."""
    text = re.sub(
        r"^module .*$",
        f"module weir.cluster/build\n\nrequire {program.module} {program.version}",
        text,
        count=1,
        flags=re.MULTILINE,
    )
    text = re.sub(r"^(toolchain|tool) .*$", "", text, flags=re.MULTILINE)
    version = STAGING if program.module == "k8s.io/kubernetes" else program.version
    return re.sub(r"^(\s*(?:replace )?)(\S+)( v\S+)? => \.\.?/\S+$", rf"\1\2 => \2 {version}", text, flags=re.MULTILINE)


def _say(line: str) -> None:
    print(f"cluster-tools: {line}", file=sys.stderr, flush=True)  # noqa: T201 - progress of a command


if __name__ == "__main__":
    try:
        print(build())  # noqa: T201 - its answer
    except ToolsMissing as error:
        sys.exit(f"cluster-tools: {error}")
