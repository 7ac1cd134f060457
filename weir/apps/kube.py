"""What a kubeconfig says, and what its cluster says of the Admin API: who calls, where it is, and whom to trust.

By the official client, which knows every kind of credentials, plugins that are run for them included. Nothing is kept between
commands.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

from fleet.defaults import ADMIN_PORT
from fleet.runtime.address import join_address
from weir.apps.failure import FORBIDDEN, NOT_DONE, NOT_FOUND, UNREACHABLE, NotDoneError

__all__ = ["AdminService", "Kube", "has_kubeconfig"]

DEFAULT_WEIR_NAMESPACE = "weir-system"
SERVICE = "weir-admin"
SECRET = "weir-admin-tls"  # noqa: S105  the name of it
LABELS = "app.kubernetes.io/name=weir,app.kubernetes.io/component=controller"
TOKEN_SECONDS = 600
"""The shortest that the API server gives. It is checked at the beginning of a call."""
TIMEOUT = (5.0, 30.0)
"""Seconds to connect to the API server, and for its answer."""
PAGE_OF_PODS = 100


@dataclass(frozen=True, slots=True)
class AdminService:
    """Where the Admin API is in the cluster."""

    namespace: str
    port: int
    """Of the pods."""
    is_plaintext: bool
    selector: str

    @property
    def url(self) -> str:
        """By the name that is in its certificate."""
        return f"{'http' if self.is_plaintext else 'https'}://{join_address(f'{SERVICE}.{self.namespace}.svc', ADMIN_PORT)}"


def has_kubeconfig(file: str | None) -> bool:
    """Whether there is a kubeconfig: the one that is named, or one of the usual ones."""
    return any(Path(path).expanduser().is_file() for path in (file or KUBE_CONFIG_DEFAULT_LOCATION).split(":") if path)


class Kube:
    """A context of a kubeconfig. Everything raises NotDoneError."""

    def __init__(self, file: str | None, context: str | None) -> None:
        self._file = file
        with _errors("the kubeconfig"):
            merged: Any = KubeConfigMerger(file or KUBE_CONFIG_DEFAULT_LOCATION).config  # type: ignore[no-untyped-call]
            if merged is None:
                raise NotDoneError(f"there is no kubeconfig at {file or KUBE_CONFIG_DEFAULT_LOCATION}", code=NOT_DONE)
            self.context = context or str(merged["current-context"])
            named = merged["contexts"].get_with_name(self.context)["context"]
            self.namespace = str(named.safe_get("namespace") or "default")

    @cached_property
    def api(self) -> client.ApiClient:
        """A client with the credentials of the context; a plugin for them is run here."""
        complaints = list[str]()
        with _errors(f"context {self.context}"), _heard(complaints.append):
            settings = client.Configuration()
            settings.retries = False
            config.load_kube_config(self._file, self.context, settings)  # type: ignore[no-untyped-call]
            self._complaints = complaints
            return client.ApiClient(settings)

    @cached_property
    def _core(self) -> Any:
        return client.CoreV1Api(self.api)

    def token(self, namespace: str, account: str | None, audience: str | None) -> tuple[str, str]:
        """A token for the Admin API, and whose it is, if not the context's own.

        With a client certificate, which only the API server can check, it is one of a ServiceAccount of the namespace.
        """
        settings = self.api.configuration
        given = (settings.api_key or {}).get("BearerToken", "")
        if account is None and given.startswith("Bearer "):
            return given.removeprefix("Bearer "), ""
        if account is None and not settings.cert_file:
            why = "its credentials cannot be used for the Admin API, which takes tokens"
            more = [*self._complaints] or ["--token gives one, --token-of ACCOUNT asks the cluster for one of a ServiceAccount"]
            raise NotDoneError(f"context {self.context}: {why}", *more, code=FORBIDDEN)
        name = account or "default"
        spec = client.V1TokenRequestSpec(audiences=[audience] if audience else [], expiration_seconds=TOKEN_SECONDS)
        body = client.AuthenticationV1TokenRequest(spec=spec)
        with _errors(f"a token of ServiceAccount {namespace}/{name}"):
            made = self._core.create_namespaced_service_account_token(name, namespace, body, _request_timeout=TIMEOUT)
            return str(made.status.token), f"{namespace}/{name}"

    def service(self, namespace: str | None) -> AdminService:
        """The Service of the Admin API: in the namespace that is named, in the usual one, or wherever there is one."""
        found = self._service_in(namespace or DEFAULT_WEIR_NAMESPACE)
        if found is None and namespace is None:
            with _errors("Services of all namespaces (--weir-namespace says where Weir is)"):
                every: list[Any] = self._core.list_service_for_all_namespaces(
                    label_selector=LABELS, limit=PAGE_OF_PODS, _request_timeout=TIMEOUT
                ).items
            there = [each for each in every if each.metadata.name == SERVICE]
            if len(there) > 1:
                names = ", ".join(each.metadata.namespace for each in there)
                raise NotDoneError(f"there are several Services {SERVICE}: --weir-namespace says which, {names}")
            found = there[0] if there else None
        if found is None:
            where = namespace or DEFAULT_WEIR_NAMESPACE
            why = "is the Admin API switched on, and in another namespace (--weir-namespace)?"
            raise NotDoneError(f"context {self.context}: there is no Service {where}/{SERVICE}: {why}", code=NOT_FOUND)
        port = next((each for each in found.spec.ports or () if each.name == "admin"), None)
        selector = ",".join(f"{name}={value}" for name, value in sorted((found.spec.selector or {}).items()))
        if port is None or not selector:
            raise NotDoneError(f"Service {found.metadata.namespace}/{SERVICE} has no port admin, or selects no pods")
        target = port.target_port if isinstance(port.target_port, int) else ADMIN_PORT
        return AdminService(found.metadata.namespace, target, port.app_protocol == "http", selector)

    def _service_in(self, namespace: str) -> Any:
        try:
            with _errors(f"Service {namespace}/{SERVICE}"):
                return self._core.read_namespaced_service(SERVICE, namespace, _request_timeout=TIMEOUT)
        except NotDoneError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    def pod(self, service: AdminService) -> str:
        """The name of a pod that is ready."""
        with _errors(f"pods of namespace {service.namespace}"):
            pods = self._core.list_namespaced_pod(
                service.namespace, label_selector=service.selector, limit=PAGE_OF_PODS, _request_timeout=TIMEOUT
            ).items
        ready = [pod.metadata.name for pod in pods if _is_ready(pod)]
        if not ready:
            raise NotDoneError(f"no pod of Service {service.namespace}/{SERVICE} is ready", code=UNREACHABLE)
        return str(ready[0])

    def authority(self, service: AdminService) -> str:
        """Certificates to trust, in PEM: the authority in the Secret of the Admin API, or else the certificate in it itself."""
        with _errors(f"Secret {service.namespace}/{SECRET} (--ca FILE is instead of it)"):
            data = self._core.read_namespaced_secret(SECRET, service.namespace, _request_timeout=TIMEOUT).data or {}
            held = data.get("ca.crt") or data.get("tls.crt")
            if not held:
                raise NotDoneError(f"Secret {service.namespace}/{SECRET} has no certificate: --ca FILE says whom to trust")
            return base64.b64decode(held).decode()

    def opened(self, service: AdminService, pod: str) -> Any:
        """A forwarded connection to the port of a pod (kubernetes.stream.ws_client.PortForward)."""
        from kubernetes.stream import portforward  # noqa: PLC0415  another tenth of a second

        with _errors(f"port-forward to pod {service.namespace}/{pod}"):
            return portforward(self._core.connect_get_namespaced_pod_portforward, pod, service.namespace, ports=str(service.port))


def _is_ready(pod: Any) -> bool:
    if pod.metadata.deletion_timestamp is not None:
        return False
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ())


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """The client's errors as ours."""
    try:
        yield
    except ApiException as error:
        status = error.status or 0
        code = {401: FORBIDDEN, 403: FORBIDDEN, 404: NOT_FOUND, 0: UNREACHABLE}.get(status, NOT_DONE)
        raise NotDoneError(f"{what}: {_message(error)}", code=code) from error
    except ConfigException as error:
        raise NotDoneError(f"{what}: {error}") from error
    except urllib3.exceptions.HTTPError as error:
        raise NotDoneError(f"{what}: the API server cannot be reached: {_innermost(error)}", code=UNREACHABLE) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:  # the client's own, for a file that is odd
        raise NotDoneError(f"{what}: {str(error) or type(error).__name__}") from error


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])[:1000]
    except (ValueError, KeyError, TypeError):  # no answer, or one of something in between
        return f"{error.status or ''} {error.reason}".strip()[:1000]


def _innermost(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason if reason is not None else error)[:1000]


@contextmanager
def _heard(tell: Callable[[str], None]) -> Iterator[None]:
    """What the client only writes to the log, as why a plugin has failed."""

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    root, handler = logging.getLogger(), Heard(logging.ERROR)
    before: Sequence[logging.Handler] = root.handlers[:]
    root.handlers[:] = [handler]
    try:
        yield
    finally:
        root.handlers[:] = before
