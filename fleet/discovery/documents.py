"""The format of the files with backends and members, and the validation of their content. Bytes and values only."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import msgspec
import yaml

from fleet.defaults import PORT_LIMIT
from fleet.discovery.sources import Backend, Member, Trouble
from fleet.runtime.address import AddressError, split_address
from fleet.runtime.terminal import one_line

__all__ = [
    "Targets",
    "check_address",
    "decode_backends",
    "decode_members",
    "decode_targets",
    "encode_backends",
    "encode_members",
    "is_yaml",
]

T = TypeVar("T")

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Backends(msgspec.Struct, frozen=True):
    backends: dict[str, tuple[Backend, ...]]
    troubles: dict[str, Trouble] = {}
    notes: dict[str, str] = {}


class _Members(msgspec.Struct, frozen=True):
    members: tuple[Member, ...]


class Targets(NamedTuple):
    """The content of the file of backends."""

    backends: dict[str, tuple[Backend, ...]]
    """By the target's key, as the troubles."""
    troubles: dict[str, Trouble]
    notes: dict[str, str]
    """What is to be said of an application, by its name."""


def is_yaml(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml")


def decode_backends(data: bytes, *, from_yaml: bool = False) -> dict[str, tuple[Backend, ...]]:
    """{"backends": {"default/web": [{"host": "127.0.0.1", "port": 8001}]}}. Raises ValueError."""
    return decode_targets(data, from_yaml=from_yaml).backends


def decode_targets(data: bytes, *, from_yaml: bool = False) -> Targets:
    """As `decode_backends`, and {"troubles": {"default/web": {"reason": "ended with exit code 1", "hopeless": true}}, "notes":
    {"default/web": "seems to need api"}}. Raises ValueError."""
    document = _decode(data, _Backends, from_yaml)
    backends = document.backends
    for key, values in backends.items():
        for index, backend in enumerate(values):
            _check_backend(backend, f"backends.{key}[{index}]")
    # Remove duplicate addresses; a dict keeps the order.
    once = {key: tuple(dict.fromkeys(values)) for key, values in backends.items()}
    troubles = {key: msgspec.structs.replace(one, reason=one_line(one.reason)) for key, one in document.troubles.items()}
    return Targets(once, troubles, {app: one_line(note) for app, note in document.notes.items()})


def decode_members(data: bytes, *, from_yaml: bool = False) -> tuple[Member, ...]:
    """{"members": [{"name": "a", "address": "127.0.0.1:9090"}]}. Raises ValueError."""
    members = _decode(data, _Members, from_yaml).members
    names = set()
    for index, member in enumerate(members):
        if not member.name or member.name in names:
            raise ValueError(f"members[{index}].name: {member.name!r} is {'given twice' if member.name else 'empty'}")
        names.add(member.name)
        check_address(member.address, f"members[{index}].address")
    return members


def encode_backends(
    backends: Mapping[str, Iterable[Backend]],
    troubles: Mapping[str, Trouble] = MappingProxyType({}),
    notes: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    ordered = {key: sorted(backends[key], key=lambda backend: (backend.host, backend.port)) for key in sorted(backends)}
    extra: dict[str, Any] = {"troubles": {key: troubles[key] for key in sorted(troubles)}} if troubles else {}
    extra |= {"notes": {app: notes[app] for app in sorted(notes)}} if notes else {}
    return _encode({"backends": ordered, **extra})


def encode_members(members: Iterable[Member]) -> bytes:
    return _encode({"members": sorted(members, key=lambda member: member.name)})


def check_address(address: str, field: str) -> None:
    """Raise ValueError, naming the field, if the text is not "host:port"."""
    try:
        split_address(address)
    except AddressError as error:
        raise ValueError(f"{field}: {error}") from error


def _check_backend(backend: Backend, field: str) -> None:
    try:
        ipaddress.ip_address(backend.host)
    except ValueError as error:
        raise ValueError(f"{field}.host: {backend.host!r} is not an IP address") from error
    if not 0 < backend.port <= PORT_LIMIT:
        raise ValueError(f"{field}.port: {backend.port} is not a port")


def _decode(data: bytes, form: type[T], from_yaml: bool) -> T:
    try:
        if not from_yaml:
            return msgspec.json.decode(data, type=form)
        return msgspec.convert(yaml.load(data, Loader=_Loader), form)  # noqa: S506  # a safe loader, the fast one
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _encode(document: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
