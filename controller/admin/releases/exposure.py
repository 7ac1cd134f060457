"""From the Services of a release that are to get requests to HTTPScaledObjects, which become a part of its chart.

As a part of the chart they belong to helm's release: made, changed, rolled back and deleted with it, by whoever does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from controller.admin.documents import Fault
from controller.admin.problems import Refused
from controller.admin.releases.documents import Exposure, Listen
from controller.admin.releases.helm import yaml_of
from controller.admin.releases.rendered import Rendered
from controller.crds import HTTP_SCALED_OBJECTS
from controller.resources import parse_http_scaled_object

__all__ = ["TEMPLATE", "rendered_of", "routes_of", "template_of"]

TEMPLATE = "weir-routes.yaml"
"""Name of the template that is added to a chart."""
_POINTERS = (
    ("spec.hosts", "hosts"),
    ("spec.pathPrefixes", "paths"),
    ("spec.scalingMetric", "target"),
    ("spec.replicas", "replicas"),
    ("spec.ports", "listen"),
)
_GROUP = HTTP_SCALED_OBJECTS.api_version.partition("/")[0]
_API_VERSIONS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1"}

Json = dict[str, Any]


class _Wrong(Exception):
    """What is wrong with a field of an exposure."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


def routes_of(exposures: Sequence[Exposure], objects: Iterable[Rendered], namespace: str, domain: str) -> list[Json]:
    """An HTTPScaledObject for each Service. Raises Refused: 422 with every field that is wrong."""
    all_here = [found for found in objects if found.namespace in ("", namespace)]
    here = [found for found in all_here if not found.hook]
    own = {
        found.name
        for found in all_here
        if (found.kind, found.api_version.partition("/")[0]) == (HTTP_SCALED_OBJECTS.kind, _GROUP)
    }
    made, faults, seen = [], [], set()
    for number, exposure in enumerate(exposures):
        try:
            if exposure.service in seen:
                raise _Wrong("service", "stands here twice")
            seen.add(exposure.service)
            if exposure.service in own:
                raise _Wrong(
                    "service", f"the chart makes an {HTTP_SCALED_OBJECTS.kind} {exposure.service} itself: leave this out"
                )
            made.append(_route(exposure, here, namespace, domain))
        except _Wrong as wrong:
            faults.append(Fault(detail=str(wrong), pointer=f"/expose/{number}/{wrong.field}"))
    if faults:
        raise Refused(422, "invalid-document", f"{faults[0].pointer}: {faults[0].detail}", errors=faults)
    return made


def rendered_of(routes: Iterable[Json]) -> list[Rendered]:
    return [Rendered(route["apiVersion"], route["kind"], route["metadata"]["name"]) for route in routes]


def template_of(routes: Iterable[Json]) -> str:
    """A template that gives these objects, whatever characters are in them: JSON is YAML, and braces are not helm's."""
    documents = (yaml_of(route).decode() for route in routes)
    return "\n---\n".join(document.replace("{{", '{{ "{{" }}') for document in documents) + "\n"


def _route(exposure: Exposure, objects: Sequence[Rendered], namespace: str, domain: str) -> Json:
    service = next((found for found in objects if found.kind == "Service" and found.name == exposure.service), None)
    if service is None:
        raise _Wrong("service", f"the chart makes no Service {exposure.service}")
    workload = _workload(exposure, service, objects)
    host = ".".join(part for part in (exposure.service, namespace, domain) if part)
    spec: Json = {
        "scaleTargetRef": {
            "name": workload.name,
            "kind": workload.kind,
            "apiVersion": _API_VERSIONS[workload.kind],
            "service": exposure.service,
            "port": _port(exposure, service),
        },
        "replicas": exposure.replicas.model_dump(),
        "scaledownPeriod": exposure.cooldown,
        "scalingMetric": {
            field: {"targetValue": value}
            for field, value in (("concurrency", exposure.target.concurrency), ("requestRate", exposure.target.rate))
            if value is not None
        },
    }
    if exposure.hosts or exposure.paths or not exposure.listen:
        spec["hosts"] = exposure.hosts or [host]
    if exposure.paths:
        spec["pathPrefixes"] = exposure.paths
    if exposure.listen:
        spec["ports"] = [_listened(one) for one in exposure.listen]
    made: Json = {
        "apiVersion": HTTP_SCALED_OBJECTS.api_version,
        "kind": HTTP_SCALED_OBJECTS.kind,
        "metadata": {"name": exposure.service, "namespace": namespace},
        "spec": spec,
    }
    _check(made)
    return made


def _listened(given: Listen) -> Json:
    fields = (("port", given.port), ("lease", given.lease), ("servicePort", given.service_port))
    return {"protocol": given.protocol, **{name: value for name, value in fields if value is not None}}


def _port(exposure: Exposure, service: Rendered) -> int:
    numbers = [int(number) for _, number in service.ports if number.isascii() and number.isdigit()]
    if exposure.port is not None and exposure.port not in numbers:
        raise _Wrong("port", f"the Service has no such port, but {', '.join(map(str, numbers)) or 'none'}")
    if not numbers:
        raise _Wrong("service", "the Service has no port")
    return exposure.port or numbers[0]


def _workload(exposure: Exposure, service: Rendered, objects: Sequence[Rendered]) -> Rendered:
    able = [found for found in objects if found.kind in _API_VERSIONS]
    if exposure.workload is not None:
        found = [one for one in able if one.name == exposure.workload]
        if not found:
            raise _Wrong("workload", f"the chart makes no Deployment or StatefulSet {exposure.workload}")
    else:
        found = [one for one in able if service.selector and service.selector.items() <= one.labels.items()]
    if len(found) != 1:
        field = "service" if exposure.workload is None else "workload"
        raise _Wrong(field, f"of the Deployments and StatefulSets of the chart, {len(found)} match: name one as workload")
    return found[0]


def _check(made: Json) -> None:
    """What Weir's controller would say of it."""
    parsed = made | {"metadata": made["metadata"] | {"uid": "none", "generation": 1}}
    resource = parse_http_scaled_object(msgspec.json.encode(parsed))
    problems = [*([resource.problem] if resource.problem is not None else []), *resource.ignored]
    if problems:
        field = next((name for start, name in _POINTERS if problems[0].field.startswith(start)), "service")
        raise _Wrong(field, problems[0].reason)
