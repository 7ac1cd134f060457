"""Whether a ScaledObject is connected to an application of ours: what is wrong with its triggers. Pure.

A user's ScaledObject names an application and the scaler's address. If either is wrong, KEDA only reports "no metric specs
returned"; so the reason is reported here, on the ScaledObject and on the application.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import msgspec

from controller.autoscalers import ScaledObject, Trigger
from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES

__all__ = ["Scaler", "Trouble", "miswiring", "wired"]

_KINDS = {"httpScaledObject": HTTP_SCALED_OBJECTS.kind, "interceptorRoute": INTERCEPTOR_ROUTES.kind}
_OLD_KEYS = ("hosts", "host")
"""Keys by which old triggers of the HTTP add-on named an application."""
_FLEET_KEY = "interceptorTargetPendingRequests"
"""Asks about all applications together; names none."""

Find = Callable[[str], str | None]
"""Returns what is wrong with the application "namespace/name": "" for nothing, None when there is no object of that name."""


class Trouble(msgspec.Struct, frozen=True):
    """Why something does not work: a reason for programs, a sentence for people."""

    reason: str
    message: str


class Scaler(msgspec.Struct, frozen=True):
    """How KEDA reaches the scaler; by TLS if a ClusterTriggerAuthentication is named."""

    address: str
    trigger_authentication: str = ""
    aliases: tuple[str, ...] = ()
    """Other addresses of the scaler that triggers may have."""

    def is_at(self, address: str) -> bool:
        """Whether a trigger's address is one of this scaler's, in any form that the cluster's DNS accepts."""
        return _normal(address) in {_normal(known) for known in (self.address, *self.aliases)}


def miswiring(scaled_object: ScaledObject, scaler: Scaler, find: Find) -> Trouble | None:
    """The first reason why a ScaledObject does not scale by the applications that it names; None when there is none, or when
    it does not concern this scaler."""
    judged = (_judged(scaled_object, trigger, scaler, find) for trigger in scaled_object.triggers)
    return next(chain.from_iterable(judged), None)


def wired(scaled_object: ScaledObject, scaler: Scaler, app: str) -> Trouble | None:
    """Why a ScaledObject that names an application does not scale by it; None when it does."""
    named = [trigger for trigger in scaled_object.triggers if trigger.is_external and app in _apps_of(scaled_object, trigger)]
    troubles = [next(_troubles(scaled_object, trigger, scaler, lambda _: ""), None) for trigger in named]
    return None if None in troubles or not troubles else troubles[0]


def _judged(scaled_object: ScaledObject, trigger: Trigger, scaler: Scaler, find: Find) -> Iterator[Trouble]:
    """Problems of one trigger of any kind."""
    ours = scaler.is_at((trigger.metadata or {}).get("scalerAddress", ""))
    # The key "app" is used by many scalers; the other two keys only by this one and the add-on's.
    if trigger.is_external and (ours or any(key in _KINDS for key in trigger.named)):
        yield from _troubles(scaled_object, trigger, scaler, find)
        if trigger.type == "external":
            why = "its trigger is of type external: KEDA asks from time to time, and a first request waits until it does"
            yield Trouble("SlowTrigger", f"{why}; with type external-push it is told at once")


def _troubles(scaled_object: ScaledObject, trigger: Trigger, scaler: Scaler, find: Find) -> Iterator[Trouble]:
    """Problems of a trigger that is meant for this scaler."""
    metadata, named = trigger.metadata or {}, trigger.named
    if not scaler.is_at(metadata.get("scalerAddress", "")):
        given = metadata.get("scalerAddress", "").strip() or "not named"
        yield Trouble("OtherScaler", f"its scaler is {given}, which is not this one ({scaler.address})")
    if scaler.trigger_authentication and metadata.get("enableTLS", "").strip().lower() != "true":
        yield Trouble("NoTLS", 'its trigger does not say enableTLS: "true", and this scaler speaks TLS only')
    if not named and not metadata.get(_FLEET_KEY, "").strip():
        old = next((f"; {key} means nothing here" for key in _OLD_KEYS if key in metadata), "")
        yield Trouble(
            "NoApplication", f"its trigger names no application: it needs interceptorRoute, httpScaledObject or app{old}"
        )
    yield from _unfound(scaled_object, trigger, find)


def _unfound(scaled_object: ScaledObject, trigger: Trigger, find: Find) -> Iterator[Trouble]:
    apps = _apps_of(scaled_object, trigger)
    if len(apps) > 1:
        said = ", ".join(f"{key}={value}" for key, value in trigger.named.items())
        yield Trouble("NoApplication", f"its trigger names different applications: {said}")
        return
    for app in apps:
        namespace = scaled_object.meta.namespace
        kind = _KINDS.get(next(iter(trigger.named)), "InterceptorRoute or HTTPScaledObject")
        if not app.startswith(f"{namespace}/"):
            yield Trouble("OtherNamespace", f"its trigger names {app}, and may only name what is in namespace {namespace}")
            return
        wrong = find(app)
        if wrong is None:
            yield Trouble("NoSuchRoute", f"no {kind} {app}")
        elif wrong:
            yield Trouble("RouteNotServed", f"{kind} {app} is not served: {wrong}")


def _apps_of(scaled_object: ScaledObject, trigger: Trigger) -> set[str]:
    return {name if "/" in name else f"{scaled_object.meta.namespace}/{name}" for name in trigger.named.values()}


def _normal(address: str) -> str:
    """ "scaler.namespace.svc.cluster.local.:9091" and "scaler.namespace:9091" are the same address."""
    host, colon, port = address.strip().lower().removeprefix("dns:///").rpartition(":")
    labels = host.rstrip(".").split(".")
    if len(labels) > 2 and labels[2] == "svc":
        labels = labels[:2]
    return f"{'.'.join(labels)}{colon}{port}"
