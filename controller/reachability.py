"""Why requests find no backend: from facts to one cause, with a helpful message. Pure.

The facts are what interceptors report about waiting requests, and the Service, its endpoints, the workload and its pods. If there
are several causes, the one that must be fixed first is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from controller.finding import MAX_NAMED, Finding
from controller.outside import causes_outside
from fleet import defaults

__all__ = ["Demand", "Evidence", "PodFacts", "ServiceFacts", "Workload", "judge"]

FAILED_WAIT_SECONDS = 60.0
"""Seconds without a backend after which requests that do not wait (those answered locally) count as failed: the default limit
of waiting requests."""

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
_CREATION = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"})


class Demand(msgspec.Struct, frozen=True):
    """What all interceptors together report about one application; times in seconds."""

    held: int = 0
    held_seconds: float = 0.0
    timed_out: int = 0
    """Requests that reached their time limit since the application last had a backend."""
    timed_out_seconds: float = 0.0
    listed: int = 0
    """Number of backends that an interceptor knows (the maximum over all), and how many of them it may choose."""
    ready: int = 0
    last_error: str = ""
    unserved: int = 0
    """Requests since it last had a backend that got none without reaching a time limit: they were answered locally, or their
    clients disconnected; and seconds since the first of them."""
    unserved_seconds: float = 0.0
    trouble_kind: str = ""
    trouble: str = ""
    """What interceptors say of a target that is no Service: one word, and for people."""

    @property
    def wants(self) -> bool:
        """Whether any request found no backend."""
        return bool(self.held or self.timed_out or self.unserved)


class ServiceFacts(msgspec.Struct, frozen=True):
    """The Service and the port that a route names."""

    name: str
    selector: Mapping[str, str] = {}
    external_name: str = ""
    target_port: str = ""
    port_name: str = ""
    endpoints: int | None = 0
    """Number of addresses in its EndpointSlices at any port, at this port, and of these the ready ones. None when the slices
    could not be read."""
    at_port: int = 0
    ready: int = 0


class Workload(msgspec.Struct, frozen=True):
    """The workload that is scaled."""

    kind: str
    name: str
    found: bool | None = True
    """None when it could not be read."""
    replicas: int = 0
    """The number of replicas requested."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class PodFacts(msgspec.Struct, frozen=True):
    """One pod that is not terminating."""

    name: str
    ready: bool = False
    labels: Mapping[str, str] = {}
    waiting: str = ""
    """Reason why a container is not started, such as "ImagePullBackOff"; its message, image and name."""
    detail: str = ""
    image: str = ""
    container: str = ""
    restarts: int = 0
    exit_code: int | None = None
    """Of the container with the most restarts: its last exit code, the reason, and its name."""
    exit_reason: str = ""
    ended: str = ""
    unschedulable: str = ""
    initializing: str = ""
    """The init container that has not started or not ended, and that the others wait for."""
    unready: tuple[str, ...] = ()
    """Containers that run and are not ready."""
    gate: str = ""
    """Why the pod is not ready although its containers are."""


class Evidence(msgspec.Struct, frozen=True):
    """What was read from the API server. None stands for what could not be read."""

    service: ServiceFacts | None = None
    workload: Workload | None = None
    pods: tuple[PodFacts, ...] | None = None
    """Pods of the workload; if that is unknown, those that the Service selects."""
    selected: tuple[PodFacts, ...] | None = None
    """Pods that the Service selects."""
    outside: str = ""
    """The place that requests are sent to when it is no Service, or a Service that is only another name for it."""
    refusal: str = ""
    """Why the last pod of the workload could not be created, if it has none."""


def judge(demand: Demand, evidence: Evidence) -> Finding | None:
    """The finding for an application whose requests wait; None when there is nothing to report."""
    if demand.ready:
        return Finding("True", "BackendsReady", "interceptors have ready backends")
    cause = next(_causes(evidence, demand), None)
    if cause is None:
        return None
    reason, why, certain = cause
    failed = demand.timed_out or demand.unserved_seconds >= FAILED_WAIT_SECONDS
    status = "False" if certain or failed else "Unknown"
    waited = _waited(demand)
    return Finding(status, reason, f"{waited}: {why}" if waited else why)


def _waited(demand: Demand) -> str:
    if demand.timed_out:
        return f"{_count(demand.timed_out, 'request')} waited {demand.timed_out_seconds:.0f} s"
    if demand.held:
        return f"{_count(demand.held, 'request')} waiting"
    if demand.unserved:
        return f"{_count(demand.unserved, 'request')} in {demand.unserved_seconds:.0f} s found no backend"
    return ""


_Cause = tuple[str, str, bool]
"""Reason, message, and whether waiting cannot help; otherwise the start may only take longer than usual."""


def _causes(evidence: Evidence, demand: Demand) -> Iterator[_Cause]:
    """The possible causes; the first is the one to fix first."""
    service, workload, pods = evidence.service, evidence.workload, evidence.pods
    outside = list(
        causes_outside(
            evidence.outside,
            kind=demand.trouble_kind,
            trouble=demand.trouble,
            listed=demand.listed,
            last_error=demand.last_error,
        )
        if evidence.outside
        else ()
    )
    yield from (cause for cause in outside if cause[2])
    if workload is not None and workload.found is False:
        yield "WorkloadNotFound", f"there is no {workload}", True
    if service is not None and not evidence.outside:
        yield from _service_causes(service, evidence)
    if workload is not None and workload.found and not workload.replicas:
        why = f"{workload} is asked to have 0 pods: nothing has scaled it, see ScaledObjectReady"
        yield "NotScaled", why, False
    if pods is not None:
        yield from _pod_causes(pods, workload, evidence.refusal)
    if evidence.outside:
        yield from outside
    elif service is not None and service.endpoints is not None:
        yield from _endpoint_causes(service, demand)


def _service_causes(service: ServiceFacts, evidence: Evidence) -> Iterator[_Cause]:
    """Problems of the Service that can be detected before its pods are ready."""
    if not service.selector:
        if service.endpoints == 0:
            yield "NoSelector", f"Service {service.name} has no selector, and nobody has made EndpointSlices for it", True
        return
    pods, selected = evidence.pods, evidence.selected
    if evidence.workload is None and selected == ():
        yield (
            "SelectsNothing",
            f"Service {service.name} selects no pod ({_selector(service)}), and nothing is known that scales it",
            False,
        )
    if not pods or selected is None or evidence.workload is None:
        return
    ours = {pod.name for pod in pods}
    if any(pod.name in ours for pod in selected):
        return
    said = f"{_ready_of(pods)}, but Service {service.name}"
    if selected:
        named = ", ".join(pod.name for pod in selected[:MAX_NAMED])
        why = f"{said} selects pods of something else ({_selector(service)}): {named}"
        yield "SelectsOtherPods", why, True
    else:
        yield "SelectsNothing", f"{said} selects none of them ({_selector(service)})", True


def _pod_causes(pods: tuple[PodFacts, ...], workload: Workload | None, refusal: str) -> Iterator[_Cause]:
    if any(pod.ready for pod in pods):
        return
    has = f"{'the workload' if workload is None else workload} has {_count(len(pods), 'pod')}, 0 ready"
    causes = [cause for pod in pods if (cause := _pod_cause(pod, has)) is not None]
    yield from sorted(causes, key=lambda cause: not cause[2])  # causes that do not resolve by themselves come first
    if pods:
        yield "PodsNotReady", f"{has}{next((why for pod in pods if (why := _unready(pod))), '')}", False
    elif workload is not None and workload.replicas:
        asked = _count(workload.replicas, "pod")
        why = refusal or "see the events of its namespace"
        yield "PodsNotCreated", f"{workload} is asked to have {asked} and has none: {why}", False
    elif workload is not None and workload.found is None:
        why = f"there is no pod, and how many {workload} is asked to have cannot be read: see ScaledObjectReady"
        yield "NotScaled", why, False


def _unready(pod: PodFacts) -> str:
    """Why a pod is not ready although its containers have no error."""
    if pod.unready:
        containers = ", ".join(pod.unready[:MAX_NAMED])
        return f": container {containers} of {pod.name} runs and has not passed its startup or readiness probe"
    return f": {pod.name}: {pod.gate}" if pod.gate else ""


def _pod_cause(pod: PodFacts, has: str) -> _Cause | None:
    if pod.waiting in _IMAGE:
        return "ImageNotPulled", f"{has}: the image {pod.image} cannot be pulled ({_said(pod)})", True
    if pod.waiting in _CREATION:
        return "ContainerNotStarted", f"{has}: container {pod.container} of {pod.name} cannot be started ({_said(pod)})", True
    if pod.waiting == "CrashLoopBackOff" or (pod.restarts and pod.exit_code is not None):
        reason = f" ({pod.exit_reason})" if pod.exit_reason not in ("", "Error", "Completed") else ""
        code = "" if pod.exit_code is None else f", the last time with exit code {pod.exit_code}{reason}"
        why = f"{has}: container {pod.ended} of {pod.name} has ended {_times(pod.restarts)}{code}"
        return "CrashLoop", why, pod.restarts > 1 or pod.waiting == "CrashLoopBackOff"
    if pod.unschedulable:
        return "PodsNotScheduled", f"{has}: {pod.name} has no node ({pod.unschedulable})", False
    if pod.initializing:
        return "PodsInitializing", f"{has}: {pod.name} waits for its init container {pod.initializing}", False
    return None


def _endpoint_causes(service: ServiceFacts, demand: Demand) -> Iterator[_Cause]:
    """Problems between ready pods and the interceptors."""
    if service.endpoints and not service.at_port and not service.selector:
        why = f'no EndpointSlice of Service {service.name} has a port named "{service.port_name}", as its own port is'
        yield "TargetPortNotFound", why, True
    elif service.endpoints and not service.at_port:
        why = f"Service {service.name} leads to port {service.target_port} of its pods, and none of them has a port of that name"
        yield "TargetPortNotFound", why, True
    elif service.ready and demand.last_error and demand.listed:
        pods = f"{_count(service.ready, 'pod')} ready" if service.ready != 1 else "1 pod ready"
        mismatch = demand.last_error == defaults.SPEAKS_HTTP2
        fails = "answers by HTTP/1.1" if mismatch else "takes a connection"
        why = f"{pods}, but none {fails} at port {service.target_port} of Service {service.name} ({demand.last_error})"
        yield "ProbeFails" if mismatch else "ConnectionRefused", why, False
    elif service.ready and demand.listed:
        why = f"{_count(service.ready, 'endpoint')} of Service {service.name} ready, but none has passed the interceptors' probe"
        yield "ProbeFails", why, False
    elif service.ready:
        why = f"{_count(service.ready, 'endpoint')} of Service {service.name} ready, but the interceptors see none: see their log"
        yield "NotSeen", why, False
    else:
        yield "NoEndpoints", f"no endpoint of Service {service.name} is ready", False


def _ready_of(pods: tuple[PodFacts, ...]) -> str:
    ready = sum(pod.ready for pod in pods)
    if not ready:
        return f"the workload has {_count(len(pods), 'pod')}"
    return f"{ready} pod is ready" if ready == 1 else f"{ready} pods are ready"


def _selector(service: ServiceFacts) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))


def _said(pod: PodFacts) -> str:
    return f"{pod.waiting}: {pod.detail}" if pod.detail else pod.waiting


def _times(count: int) -> str:
    return "once" if count <= 1 else f"{count} times"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
