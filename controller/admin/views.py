"""What the API says of an application, from its objects and what is known beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from pydantic import ValidationError

from controller.admin.demand import Demand
from controller.admin.documents import App, AppState, AppSummary, Condition, Replicas, RunningReplicas
from controller.admin.objects import Json, Live, document_of
from controller.by_hand import AWAKE_UNTIL, by_hand
from controller.resources import ObjectMeta
from controller.status import READY

__all__ = ["Surroundings", "app_of", "conditions_of", "replicas_of", "summary_of", "urls_of"]

OBJECTS_PRESENT = "ObjectsPresent"
"""Our own condition: whether the Service and the Deployment exist."""


class Surroundings(msgspec.Struct, frozen=True):
    """What is known of an application beside its objects."""

    scaled_object: Json | None = None
    demand: Demand = Demand(unknown="it was not asked for")
    last_wake: str | None = None
    """What this process has seen; the status may know more."""
    now: float = 0.0
    """Seconds since the epoch."""


def app_of(live: Live, around: Surroundings, url: str) -> App:
    """An application that exists. `url` is what addresses are made of, with {host}."""
    owner = live.owner
    if owner is None:
        raise ValueError("there is no owner")
    metadata, spec, status = owner["metadata"], owner.get("spec") or {}, owner.get("status") or {}
    active, last_active = _activity(around.scaled_object)
    urls = urls_of(spec, url)
    wanted, ready = replicas_of(live)
    return App(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=live.uid,
        state=_state(live, wanted, ready),
        app=document_of(live),
        url=urls[0] if urls else "",
        urls=urls,
        replicas=RunningReplicas(wanted=wanted, ready=ready),
        active=active,
        last_active=last_active,
        demand=around.demand.requests,
        demand_unknown=around.demand.unknown,
        last_wake=max(filter(None, (around.last_wake, status.get("lastWakeTime"))), default=None),
        awake_until=_awake_until(metadata, around.now),
        conditions=[*_own_conditions(live), *conditions_of(owner)],
    )


def summary_of(owner: Json, url: str) -> AppSummary:
    """An application in a list."""
    metadata, spec = owner["metadata"], owner.get("spec") or {}
    urls = urls_of(spec, url)
    ready = next((condition for condition in conditions_of(owner) if condition.type == READY), None)
    try:
        replicas = Replicas.model_validate(spec.get("replicas") or {})
    except ValidationError:
        replicas = None
    return AppSummary(
        namespace=metadata["namespace"],
        name=metadata["name"],
        url=urls[0] if urls else "",
        replicas=replicas,
        ready=ready.status if ready is not None else "Unknown",
        reason=ready.reason if ready is not None else "",
    )


def urls_of(spec: Json, url: str) -> list[str]:
    """Where an application is reached. A wildcard is no address."""
    hosts = [str(host) for host in spec.get("hosts") or () if "*" not in str(host)]
    paths = [str(path) for path in spec.get("pathPrefixes") or ("/",)]
    return [url.replace("{host}", host) + path for host in hosts for path in paths]


def _state(live: Live, wanted: int, ready: int) -> AppState:
    if live.owner is not None and live.owner["metadata"].get("deletionTimestamp"):
        return "deleting"
    if live.change:
        return "changing"
    if None in live.objects.values():
        return "broken"
    if not wanted:
        return "asleep"
    return "awake" if ready else "waking"


def replicas_of(live: Live) -> tuple[int, int]:
    deployment = live.objects["Deployment"] or {}
    wanted, ready = (deployment.get("spec") or {}).get("replicas", 0), (deployment.get("status") or {}).get("readyReplicas", 0)
    return int(wanted), int(ready)


def _awake_until(metadata: Json, now: float) -> str | None:
    until = (metadata.get("annotations") or {}).get(AWAKE_UNTIL)
    meta = ObjectMeta(name=str(metadata["name"]), annotations={AWAKE_UNTIL: str(until)})
    return str(until) if until is not None and by_hand(meta, now).awake else None


def _own_conditions(live: Live) -> Iterable[Condition]:
    missing = [kind for kind, found in live.objects.items() if found is None]
    if missing and not live.change:
        message = f"{' and '.join(missing)} of this name: somebody has deleted it; PUT makes it again"
        yield Condition(type=OBJECTS_PRESENT, status="False", reason="Missing", message=f"there is no {message}")


def conditions_of(owner: Json) -> list[Condition]:
    return [
        Condition(
            type=str(found.get("type", "")),
            status=str(found.get("status", "")),
            reason=str(found.get("reason", "")),
            message=str(found.get("message", "")),
            since=found.get("lastTransitionTime") or None,
        )
        for found in (owner.get("status") or {}).get("conditions") or ()
    ]


def _activity(scaled_object: Json | None) -> tuple[bool | None, str | None]:
    status: dict[str, Any] = (scaled_object or {}).get("status") or {}
    active = next((one.get("status") for one in status.get("conditions") or () if one.get("type") == "Active"), None)
    return ({"True": True, "False": False}.get(str(active)), status.get("lastActiveTime"))
