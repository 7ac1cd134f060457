"""etcd, kube-apiserver and kube-controller-manager as child processes: started in order, each after the one before is ready."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx

from tests.cluster.api import Api, ApiError
from tests.cluster.network import API_ADDRESS, NODE_ADDRESS, SERVICE_RANGE
from tests.cluster.pki import Authority, kubeconfig, service_account_key
from tests.cluster.processes import Daemon, flags

__all__ = ["PATIENCE", "URL", "ControlPlane", "until"]

URL = f"https://{NODE_ADDRESS}:6443"
PATIENCE = 240.0
"""Seconds after which a start has failed; it usually takes four to ten."""
LONGEST_ROUND = 1.5
"""Duration of one check with its pause, as a multiple of the pause, on a machine that is not overloaded."""
SLOWEST = 3
"""How many times slower than a quiet one a machine may be. What takes longer hangs, such as a server that never answers."""
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller", "replicaset-controller", "statefulset-controller", "endpointslice-controller",
    "horizontal-pod-autoscaler-controller", "garbage-collector-controller", "namespace-controller", "serviceaccount-controller",
    "root-ca-certificate-publisher-controller", "disruption-controller", "job-controller",
)  # fmt: skip
HPA_SYNC = "3s"
"""The default is 15 s; tests would only wait longer."""

T = TypeVar("T")


async def until(ask: Callable[[], Awaitable[T]], what: str, *, patience: float = PATIENCE, pause: float = 0.1) -> T:
    """Call `ask` until its result is true; errors of the API server are ignored.

    If a round takes longer than on a quiet machine, only a part of it counts as `patience`, because everything else is slow too.
    """
    waited, last = 0.0, ""
    while waited < patience:
        began = time.monotonic()
        try:
            if answer := await ask():
                return answer
        except (httpx.HTTPError, ApiError) as error:
            last = f" (last: {error!r})"
        await asyncio.sleep(pause)
        took = time.monotonic() - began
        waited += max(min(took, LONGEST_ROUND * pause), took / SLOWEST)
    raise AssertionError(f"not after {patience:.0f} s: {what}{last}")


class ControlPlane:
    """Everything under one directory: keys, data, logs."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self._directory, self._programs = directory, programs
        self.logs, self.pki = directory / "logs", directory / "pki"
        for path in (self.logs, self.pki):
            path.mkdir(parents=True)
        authority = Authority.create(self.pki, "cluster-ca")
        self.ca = authority.path
        self.admin = authority.issue("admin", groups=["system:masters"])
        self.kubeconfig = kubeconfig(directory / "kubeconfig", URL, self.admin)
        self.etcd, self.apiserver = self._etcd(), self._apiserver(authority)
        self.manager = self._manager()

    async def start(self) -> None:
        self.etcd.start()
        self.apiserver.start()
        await self.serving()
        self.manager.start()

    async def serving(self) -> None:
        """Wait until the API server is ready."""
        async with Api(URL, self.admin) as api:

            async def ready() -> bool:
                assert self.apiserver.alive, f"kube-apiserver ended:\n{self.apiserver.tail()}"
                await api.get("/readyz")
                return True

            await until(ready, "kube-apiserver is ready")

    def stop(self) -> None:
        for daemon in (self.manager, self.apiserver, self.etcd):
            daemon.stop()

    def _etcd(self) -> Daemon:
        client = "http://127.0.0.1:2379"
        options = {
            "data-dir": self._directory / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": "http://127.0.0.1:2380",
            "unsafe-no-fsync": "true",  # nothing here must survive a crash of the machine
            "log-level": "warn",
        }
        return Daemon("etcd", [self._programs / "etcd", *flags(options)], logs=self.logs)

    def _apiserver(self, authority: Authority) -> Daemon:
        hosts = [NODE_ADDRESS, API_ADDRESS, "127.0.0.1", "localhost", "kubernetes.default.svc", "kubernetes.default"]
        serving = authority.issue("kube-apiserver", hosts=hosts)
        front = Authority.create(self.pki, "front-proxy-ca")
        proxy = front.issue("front-proxy-client")
        accounts = service_account_key(self.pki / "service-accounts.key")
        options = {
            "etcd-servers": "http://127.0.0.1:2379",
            "bind-address": "0.0.0.0",
            "secure-port": "6443",
            "advertise-address": NODE_ADDRESS,
            "service-cluster-ip-range": SERVICE_RANGE,
            "authorization-mode": "RBAC",
            "client-ca-file": self.ca,
            "tls-cert-file": serving.cert,
            "tls-private-key-file": serving.key,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": accounts,
            "service-account-signing-key-file": accounts,
            "requestheader-client-ca-file": front.path,
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-username-headers": "X-Remote-User",
            "proxy-client-cert-file": proxy.cert,
            "proxy-client-key-file": proxy.key,
            "allow-privileged": "true",
            "profiling": "false",
        }
        return Daemon("kube-apiserver", [self._programs / "kube-apiserver", *flags(options)], logs=self.logs)

    def _manager(self) -> Daemon:
        options = {
            "kubeconfig": self.kubeconfig,
            "authentication-kubeconfig": self.kubeconfig,
            "authorization-kubeconfig": self.kubeconfig,
            "controllers": ",".join(CONTROLLERS),
            "root-ca-file": self.ca,
            "service-account-private-key-file": self.pki / "service-accounts.key",
            "leader-elect": "false",
            "horizontal-pod-autoscaler-sync-period": HPA_SYNC,
            "kube-api-qps": "200",
            "kube-api-burst": "400",
        }
        return Daemon("kube-controller-manager", [self._programs / "kube-controller-manager", *flags(options)], logs=self.logs)
