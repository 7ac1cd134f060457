"""KEDA as released: its custom resources, its operator, and its metrics adapter behind the API server's aggregation layer."""

from pathlib import Path

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.controlplane import URL, ControlPlane, until
from tests.cluster.kubectl import Kubectl
from tests.cluster.pki import Authority
from tests.cluster.processes import Daemon, flags
from tests.cluster.tools import keda_crds

__all__ = ["Keda"]

NAMESPACE = "keda"
SERVICE = "keda-metrics-apiserver"
ADAPTER_PORT = 6444
GROUP = "external.metrics.k8s.io"


class Keda:
    """Operator and adapter as processes of the node, like the control plane."""

    def __init__(self, plane: ControlPlane, programs: Path, directory: Path) -> None:
        self._plane = plane
        self.operator, self.adapter = self._daemons(programs, directory)

    async def start(self, kubectl: Kubectl) -> None:
        """Start, and wait until the API server serves metrics."""
        await kubectl("apply", "--server-side", "-f", str(keda_crds()))
        async with Api(URL, self._plane.admin) as api:
            await api.create(namespaced("namespaces"), {"metadata": {"name": NAMESPACE}})
            await api.create(namespaced("services", NAMESPACE), _service())
            await api.create(namespaced("apiservices"), _api_service())
            self.operator.start()
            self.adapter.start()
            await until(lambda: self._serving(api), "KEDA's metrics are served")

    def stop(self) -> None:
        for daemon in (self.adapter, self.operator):
            daemon.stop()

    async def _serving(self, api: Api) -> bool:
        for daemon in (self.operator, self.adapter):
            assert daemon.alive, f"{daemon.name} ended:\n{daemon.tail()}"
        await api.get(f"/apis/{GROUP}/v1beta1")
        return True

    def _daemons(self, programs: Path, directory: Path) -> tuple[Daemon, Daemon]:
        directory.mkdir()
        # One certificate for both ends: the operator's service to the adapter requires client certificates of the same authority.
        authority = Authority.create(directory, "ca")
        pair = authority.issue("tls", hosts=["localhost", f"{SERVICE}.{NAMESPACE}.svc"])
        config = self._plane.kubeconfig
        environment = {
            "KUBECONFIG": str(config),
            "WATCH_NAMESPACE": "",
            "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
            "POD_NAMESPACE": NAMESPACE,
        }
        operator = {
            "cert-dir": directory,
            "metrics-bind-address": "127.0.0.1:8082",
            "health-probe-bind-address": "127.0.0.1:8081",
            "metrics-service-bind-address": ":9666",
            "zap-log-level": "info",
            # By default it sends at most 20 requests a second to the API server; a thousand objects would take minutes.
            "kube-api-qps": "200",
            "kube-api-burst": "400",
        }
        adapter = {
            "secure-port": ADAPTER_PORT,
            "port": "8083",
            "cert-dir": directory,
            "tls-cert-file": pair.cert,
            "tls-private-key-file": pair.key,
            "metrics-service-address": "localhost:9666",
            "lister-kubeconfig": config,
            "authentication-kubeconfig": config,
            "authorization-kubeconfig": config,
        }
        logs = self._plane.logs
        return (
            Daemon("keda-operator", [programs / "keda-operator", *flags(operator)], logs=logs, env=environment),
            Daemon("keda-adapter", [programs / "keda-adapter", *flags(adapter)], logs=logs, env=environment),
        )


def _service() -> Object:
    # An ExternalName needs no endpoints; addresses of endpoints must not be loopback.
    ports = [{"port": ADAPTER_PORT, "name": "https"}]
    return {"metadata": {"name": SERVICE}, "spec": {"type": "ExternalName", "externalName": "localhost", "ports": ports}}


def _api_service() -> Object:
    service = {"name": SERVICE, "namespace": NAMESPACE, "port": ADAPTER_PORT}
    spec = {
        "service": service,
        "group": GROUP,
        "version": "v1beta1",
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    return {"metadata": {"name": f"v1beta1.{GROUP}"}, "spec": spec}
