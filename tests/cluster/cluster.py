"""The whole cluster as tests use it: network, control plane, one node, KEDA."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.cluster.api import Api, Object
from tests.cluster.controlplane import URL, ControlPlane
from tests.cluster.keda import Keda
from tests.cluster.kubectl import Kubectl
from tests.cluster.network import open_network
from tests.cluster.processes import Daemon, flags, tail
from tests.support.jsonlines import JsonLines

__all__ = ["APP_IMAGE", "ROOT", "WEIR_IMAGE", "Cluster"]

ROOT = Path(__file__).parents[2]
APP_IMAGE, WEIR_IMAGE = "echo", "weir"
_APPS = Path(__file__).parent / "apps"
_SYSTEM_APPS = ROOT / "tests" / "system" / "apps"
IMAGES: Mapping[str, Sequence[str]] = {
    APP_IMAGE: [sys.executable, "-I", "-S", str(_APPS / "echo.py")],
    WEIR_IMAGE: [sys.executable, "-m", "weir"],
    # Works on after its answers, as in the tests of `weir up`.
    "datagrams": [sys.executable, "-I", "-S", str(_APPS / "datagrams.py")],
    "busy": [sys.executable, "-I", "-S", str(_SYSTEM_APPS / "busy.py")],
    # Call each other through the interceptor, as those of `weir up` do.
    "chain": [sys.executable, "-I", "-S", str(_SYSTEM_APPS / "chain.py")],
    "chain-rpc": [sys.executable, str(_SYSTEM_APPS / "chain_rpc.py")],
    # What the add-on's end-to-end cases run.
    "grpc-echo": [sys.executable, str(_APPS / "grpc_echo.py")],
    "whoami": [sys.executable, "-I", "-S", str(_APPS / "whoami.py")],
    "curl": ["curl"],
}
"""The local command that replaces the entry point of each image."""


class Cluster:
    """start() and stop() once per session of tests."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory, self.programs = directory, programs
        self._events = JsonLines(directory / "events.jsonl")
        self._broken = ""
        self.plane = ControlPlane(directory, programs)
        self.keda = Keda(self.plane, programs, directory / "keda")
        self.node = self._node()
        self.kubectl = Kubectl(programs / "kubectl", self.plane.kubeconfig)

    @property
    def daemons(self) -> list[Daemon]:
        return [self.plane.etcd, self.plane.apiserver, self.plane.manager, self.keda.operator, self.keda.adapter, self.node]

    async def start(self) -> None:
        open_network()
        await self.plane.start()
        self.node.start()
        await self.keda.start(self.kubectl)
        self.check()

    def check(self) -> None:
        """Raises AssertionError if a program has ended, with the end of its log."""
        ended = [daemon for daemon in self.daemons if not daemon.alive]
        assert not ended, "\n".join(f"{daemon.name} ended:\n{daemon.tail()}" for daemon in ended)

    def stop(self) -> None:
        for stop in (self.keda.stop, self.node.stop, self.plane.stop):
            stop()

    def api(self) -> Api:
        """An administrator's client; use as `async with`."""
        return Api(URL, self.plane.admin)

    def events(self, event: str = "", *, namespace: str = "", app: str = "") -> list[Object]:
        """The node's actions, oldest first."""
        return [
            line
            for line in self._events.read()
            if event in {"", line["event"]} and namespace in {"", line["namespace"]} and app in {"", line["app"]}
        ]

    def processes(self, namespace: str, component: str) -> dict[str, int]:
        """The running processes of a component: by pod, the process that was started last and has not ended."""
        running: dict[str, int] = {}
        for line in self.events(namespace=namespace):
            if line["container"] == component and line["event"] == "started":
                running[line["pod"]] = line["pid"]
            elif line["container"] == component and line["event"] == "exited":
                running.pop(line["pod"], None)
        return running

    def log(self, namespace: str, pod: str, container: str) -> str:
        """A container's log; empty before it has started."""
        file = self.directory / "pods" / namespace / pod / f"{container}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    @contextlib.contextmanager
    def waited_for_once(self) -> Iterator[None]:
        """What every test waits for at its start. If it did not come for one, those after it fail at once: each would wait for
        minutes, and a run of many would be cut off before it can say why.
        """
        assert not self._broken, f"the cluster is broken since an earlier test: {self._broken}"
        try:
            yield
        except AssertionError as error:
            self._broken = str(error)
            raise

    def report(self) -> str:
        """Which programs have ended, and the last lines of all logs, for a test that failed."""
        logs = {daemon.name if daemon.alive else f"{daemon.name}, which has ended": daemon.log for daemon in self.daemons}
        logs |= {
            str(log.relative_to(self.directory)): log for log in sorted((self.directory / "pods" / "weir-system").rglob("*.log"))
        }
        return "\n\n".join(f"--- {name}\n{tail(log)}" for name, log in logs.items() if log.exists())

    def _node(self) -> Daemon:
        tls = self.plane.admin
        options = {
            "url": URL,
            "ca": tls.ca,
            "cert": tls.cert,
            "key": tls.key,
            "directory": self.directory,
            "images": json.dumps(IMAGES),
            "cwd": ROOT,
        }
        return Daemon("node", [sys.executable, "-m", "tests.cluster.node", *flags(options)], logs=self.plane.logs)
