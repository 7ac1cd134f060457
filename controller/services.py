"""Services with the fields that the controller uses: those that interceptors use, and the selector. No I/O."""

from __future__ import annotations

import msgspec

from fleet.discovery.kubernetes.objects import Service, parse_service

__all__ = ["SelectingService", "parse_selecting_service"]


class SelectingService(Service, frozen=True):
    """A Service with its selector, the labels by name."""

    selector: tuple[tuple[str, str], ...] = ()


class _Spec(msgspec.Struct):
    selector: dict[str, str] | None = None


class _Head(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


_head = msgspec.json.Decoder(_Head)


def parse_selecting_service(data: bytes | msgspec.Raw) -> SelectingService:
    """Raises ValueError."""
    known = parse_service(data)
    selector = _head.decode(data).spec.selector or {}
    return SelectingService(**msgspec.structs.asdict(known), selector=tuple(sorted(selector.items())))
