"""Runs helm: with a list of arguments and never a shell, in an environment and a directory of its own, within bounds."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from controller.admin.problems import Refused
from controller.admin.releases import indexreader, launcher, reader
from controller.admin.releases.places import HelmPlaces
from fleet.runtime.pipe import PipeReader
from fleet.runtime.terminal import one_line

__all__ = ["Helm", "HelmFailed", "HelmSlow", "Workspace", "yaml_of"]

MAX_OUTPUT = 16 << 20
"""Bytes that one run may write to its standard output. Of a release's whole description, the chart is the largest part."""
MAX_ERRORS = 64 << 10
"""Bytes of its standard error that are kept: the last ones, as they have the reason."""
MAX_MEMORY = 1 << 30
"""Bytes of memory of one run; a chart of the largest kind takes 200 MB. Beyond it helm ends, and the controller does not."""
SOFT_MEMORY = "256MiB"
"""From here on helm's garbage collector works harder."""
READER_SECONDS = 30.0
MAX_CPU_SECONDS = 120
"""Seconds of CPU of one run. Waiting costs nearly none."""
MAX_FILE = 64 << 20
"""Bytes of one file that it writes: an archive, or the index of a repository."""
MAX_RUNS = 6
"""Runs at once. Each takes 60 to 100 MB; who comes later waits."""
MAX_RUNS_OF_USER = 4
"""A run that waits for pods to become ready has its place for as long."""
MAX_WORKSPACES, MAX_WORKSPACES_OF_USER = 12, 8
"""Operations at once, each of which may have 20 MiB of a chart in the volume for helm's files, which has 1 GiB."""
PLACE_SECONDS = 30.0
"""Seconds for which a call waits for a place."""
MAX_REASON = 800
_NOT_IN_YAML = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
_PASSED_ON = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that helm gets of the controller's: how the network is reached."""


def yaml_of(content: object) -> bytes:
    """JSON that is YAML with the same meaning: the characters escaped that YAML takes for line ends, or does not allow."""
    text = msgspec.json.encode(content).decode()
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


class HelmFailed(Exception):
    """Helm has ended with an error; the text is its reason."""


class HelmSlow(HelmFailed):
    """Helm was ended, as it took too long, or wrote too much."""


class Workspace:
    """A directory that is removed in the end, readable by nobody else."""

    def __init__(self, path: Path, user: str = "") -> None:
        """`user` is whose places it takes to run helm."""
        self.path = path
        self.user = user
        self.chart = path / "chart"
        self.kubeconfig = path / "kubeconfig"
        self.registry = path / "registry.json"
        self.repositories = path / "repositories.yaml"
        self.downloads = path / "downloads"
        self.checks_values = True
        """Whether helm may use the schemas of the chart in it (controller.admin.releases.schemas)."""
        for directory in (self.chart, self.downloads):
            directory.mkdir(mode=0o700)

    def write(self, name: str, content: object) -> Path:
        """A file with this as JSON, which is YAML as well; only this user can read it."""
        at = self.path / name
        with open(at, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(yaml_of(content))
        return at

    def index(self, repository: str) -> Path:
        """Where helm keeps the index of a repository of this name."""
        return self.path / "cache" / "repository" / f"{repository}-index.yaml"

    def connect(self, url: str, namespace: str) -> None:
        """Have helm take this address for the API server."""
        name = "weir"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": url}}],
            "users": [{"name": name, "user": {}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        }
        self.write(self.kubeconfig.name, content)

    def environment(self) -> dict[str, str]:
        home = str(self.path)
        own = {
            "HOME": home,
            "TMPDIR": home,
            "PATH": "",
            "LANG": "C.UTF-8",
            "GOMEMLIMIT": SOFT_MEMORY,
            "KUBECONFIG": str(self.kubeconfig),
            "HELM_CACHE_HOME": f"{home}/cache",
            "HELM_CONFIG_HOME": f"{home}/config",
            "HELM_DATA_HOME": f"{home}/data",
            "HELM_PLUGINS": f"{home}/no-plugins",
            "HELM_REGISTRY_CONFIG": str(self.registry),
            "HELM_REPOSITORY_CONFIG": str(self.repositories),
            "HELM_REPOSITORY_CACHE": f"{home}/cache/repository",
            "HELM_DRIVER": "secret",
        }
        return {**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **own}


class Helm:
    """`program` is the name of helm, or its path; empty for none."""

    def __init__(self, program: str) -> None:
        self._path = shutil.which(program) if program else None
        self._places = HelmPlaces(MAX_RUNS, MAX_RUNS_OF_USER)
        self._workspaces = HelmPlaces(MAX_WORKSPACES, MAX_WORKSPACES_OF_USER)

    def check(self) -> None:
        """Raises Refused: 501 without helm."""
        if self._path is None:
            detail = (
                "this controller has no helm: WEIR_ADMIN_HELM names it, and no such program was found when the controller started"
            )
            raise Refused(501, "no-helm", detail)

    @asynccontextmanager
    async def workspace(self, user: str = "") -> AsyncIterator[Workspace]:
        """A new directory. Raises Refused: 501 without helm, 503 without a place for files, or when there are too many."""
        self.check()
        async with self._workspaces.take(user, PLACE_SECONDS, "releases are asked for"):
            try:
                made = await asyncio.to_thread(tempfile.mkdtemp, prefix="weir-helm-")
            except OSError as error:
                raise Refused(
                    503, "no-space", f"there is no place for helm's files: {error}", headers={"Retry-After": "30"}
                ) from error
            try:
                yield Workspace(Path(made), user)
            finally:
                # In a thread that goes on if this is cancelled: values may be secrets.
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, made, ignore_errors=True))

    async def run(self, workspace: Workspace, *arguments: str, seconds: float, most: int = MAX_OUTPUT) -> bytes:
        """Run helm to its end; returns what it has written. Raises HelmFailed, and Refused when there is no place."""
        self.check()
        return await self._placed(workspace, (str(self._path), *arguments), f"helm {arguments[0]}", seconds, most)

    async def read(self, workspace: Workspace, manifests: bytes) -> bytes:
        """What is in manifests, as controller.admin.releases.reader says it. Raises HelmFailed, and Refused."""
        at = workspace.path / "manifests.yaml"
        at.write_bytes(manifests)
        command = (sys.executable, "-I", reader.__file__, str(at))
        return await self._placed(workspace, command, "reading what the chart makes", READER_SECONDS, MAX_OUTPUT)

    async def versions(self, workspace: Workspace, repository: str, chart: str) -> bytes:
        """What helm has fetched of a repository's index about one chart, as controller.admin.releases.indexreader says it. Raises
        HelmFailed, and Refused."""
        command = (sys.executable, "-I", indexreader.__file__, str(workspace.index(repository)), chart)
        return await self._placed(workspace, command, "reading the repository's index", READER_SECONDS, MAX_OUTPUT)

    async def _placed(self, workspace: Workspace, command: Sequence[str], what: str, seconds: float, most: int) -> bytes:
        async with self._places.take(workspace.user, PLACE_SECONDS, "helm runs"):
            return await _run(workspace, command, what, seconds, most)


async def _run(workspace: Workspace, command: Sequence[str], what: str, seconds: float, most: int) -> bytes:
    limits = (os.getpid(), MAX_MEMORY, MAX_CPU_SECONDS, MAX_FILE)
    # Not by the event loop: uvloop forks, and a fork of a process with gRPC's threads may crash in gRPC's handlers of forks.
    # Popen uses vfork, which takes about a millisecond. In this thread: the process ends with the thread that has started it.
    process = subprocess.Popen(  # noqa: ASYNC220, S603
        [sys.executable, "-I", "-S", launcher.__file__, *map(str, limits), *command],
        cwd=workspace.path,
        env=workspace.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = _Output(process, most), _Output(process, MAX_ERRORS, last=True)
        async with asyncio.timeout(seconds):
            await asyncio.gather(output.read(process.stdout), errors.read(process.stderr))
            await asyncio.to_thread(process.wait)
    except TimeoutError as error:
        raise HelmSlow(f"{what} was ended after {seconds:g} s") from error
    finally:
        _kill(process)
        await asyncio.shield(asyncio.to_thread(process.wait))
    if output.is_too_much:
        raise HelmSlow(f"{what} has written more than {most} bytes, and was ended")
    if process.returncode != 0:
        raise HelmFailed(_reason(bytes(errors.content), process.returncode, what))
    return bytes(output.content)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class _Output:
    """What a process writes: all of it, and it is ended if that is too much; or only the last of it."""

    def __init__(self, process: subprocess.Popen[bytes], most: int, *, last: bool = False) -> None:
        self.content = bytearray()
        self.is_too_much = False
        self._process = process
        self._most = most
        self._last = last

    async def read(self, pipe: IO[bytes] | None) -> None:
        """Until it is closed."""
        assert pipe is not None  # noqa: S101 -- each process here has both
        reader = asyncio.StreamReader()
        transport = PipeReader(pipe, asyncio.StreamReaderProtocol(reader))
        try:
            while part := await reader.read(65_536):
                self.content += part
                if len(self.content) > self._most:
                    self._shorten()
        finally:
            transport.close()

    def _shorten(self) -> None:
        if self._last:
            del self.content[: -self._most]
        else:
            self.is_too_much = True
            self.content.clear()
            _kill(self._process)


def _reason(errors: bytes, code: int, what: str) -> str:
    """What helm says: from its last line that begins with Error to the end."""
    text = errors.decode(errors="replace").strip()
    if code in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGSEGV):
        return f"{what} was ended, as it took too much time of the processor or of memory (signal {-code})"
    if "fatal error: runtime: out of memory" in text or "cannot allocate memory" in text:
        return f"{what} needs more than {MAX_MEMORY} bytes of memory"
    begin = text.rfind("Error: ")
    said = text[begin + len("Error: ") :] if begin >= 0 else text[-MAX_REASON:]
    return one_line(said.strip())[:MAX_REASON] or f"{what} has failed, and says nothing"
