"""Puts bodies from ConfigMaps into the answers of routes. Pure: ConfigMaps come in as values; missing bodies are returned as
messages.

An answer whose body is missing becomes a 500, as in the KEDA HTTP add-on; the rest of its route is unaffected.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from controller.answers import MAINTENANCE, PLACEHOLDER, Reference, static_place
from fleet.discovery.kubernetes.objects import ConfigMap
from fleet.routing.check import RouteError, check_route
from fleet.routing.check_answers import MAX_ANSWER_BYTES, answer_bytes
from fleet.routing.contenttype import content_type
from fleet.routing.route import MAX_FILES, Route, StaticFile, StaticResponse

__all__ = [
    "SMALL_ANSWER_BYTES",
    "UNAVAILABLE",
    "Absent",
    "Bodies",
    "MissingError",
    "are_known",
    "content_of",
    "filled",
    "without_bodies",
]

SMALL_ANSWER_BYTES = 4096
"""Bodies of a route up to this size are always accepted, even when the table is full: answers such as health checks must not
be lost because of large pages elsewhere."""

UNAVAILABLE = StaticResponse(500, (("Content-Type", "text/plain; charset=utf-8"),), b"Internal Server Error\n")


class Refers(Protocol):
    """Something that a ConfigMap holds."""

    @property
    def config_map(self) -> str:
        """ "namespace/name"."""


class Absent(msgspec.Struct, frozen=True):
    """A ConfigMap that does not exist or cannot be used."""

    why: str
    temporary: bool = False
    """Whether it could only not be asked for."""


Bodies = Mapping[str, ConfigMap | Absent]
"""By "namespace/name". One that is missing here has not been read yet."""


def are_known(references: Sequence[Refers], bodies: Bodies) -> bool:
    return all(reference.config_map in bodies for reference in references)


def filled(route: Route, references: Sequence[Reference], bodies: Bodies) -> tuple[Route, tuple[str, ...]]:
    """The route with its bodies, and messages about missing ones."""
    if not references:
        return route, ()
    made: dict[str, StaticResponse] = {}
    missing: list[str] = []
    left = MAX_ANSWER_BYTES - answer_bytes(route) - len(references) * _size(UNAVAILABLE)
    for reference in references:
        try:
            response = _response(_at(route, reference.place), reference, bodies)
            left -= _size(response)
            if left < 0:
                raise MissingError(f"with ConfigMap {reference.config_map}, bodies are more than {MAX_ANSWER_BYTES} bytes")
        except MissingError as error:
            response = UNAVAILABLE
            missing.append(f"{reference.place}: {error}")
        made[reference.place] = response
    return _checked(_with(route, made), references, tuple(missing))


def _checked(route: Route, references: Sequence[Reference], missing: tuple[str, ...]) -> tuple[Route, tuple[str, ...]]:
    """Make sure that a ConfigMap's content never leads to an invalid route."""
    try:
        check_route(route)
    except RouteError as error:
        places = [reference.place for reference in references]
        return _with(route, dict.fromkeys(places, UNAVAILABLE)), tuple(f"{place}: {error.reason}" for place in places)
    return route, missing


def without_bodies(route: Route) -> tuple[Route, tuple[str, ...]]:
    """The route without bodies of any size, for when the table is full."""
    large = {place: UNAVAILABLE for place, response in _responses(route) if _size(response) > len(UNAVAILABLE.body or b"")}
    why = "the bodies of older objects leave no room in the routing table"
    return _with(route, large), tuple(f"{place}: {why}" for place in large)


class MissingError(Exception):
    """Why a body is not available."""


def _response(response: StaticResponse, reference: Reference, bodies: Bodies) -> StaticResponse:
    found = bodies.get(reference.config_map, Absent("was not read yet"))
    if isinstance(found, Absent):
        raise MissingError(f"ConfigMap {reference.config_map}: {found.why}")
    typed = any(name.lower() == "content-type" for name, _ in response.headers)
    if not reference.key:
        return msgspec.structs.replace(response, body=None, files=_files(found, reference, typed=typed))
    body = content_of(found, reference.key, reference.config_map)
    headers = response.headers if typed else (*response.headers, ("Content-Type", content_type(body, reference.key)))
    return msgspec.structs.replace(response, body=body, headers=headers)


def _files(config_map: ConfigMap, reference: Reference, *, typed: bool) -> tuple[StaticFile, ...]:
    keys = sorted(config_map.data.keys() | config_map.binary_data.keys())
    if not keys:
        raise MissingError(f"ConfigMap {reference.config_map} is empty")
    if len(keys) > MAX_FILES:
        raise MissingError(f"ConfigMap {reference.config_map} has more than {MAX_FILES} keys")
    bodies = {key: content_of(config_map, key, reference.config_map) for key in keys}
    return tuple(StaticFile(f"/{key}", body, None if typed else content_type(body, key)) for key, body in bodies.items())


def content_of(config_map: ConfigMap, key: str, name: str) -> bytes:
    """What a ConfigMap has under a key. Raises MissingError."""
    if key in config_map.data:
        return config_map.data[key].encode()
    if key not in config_map.binary_data:
        raise MissingError(f"ConfigMap {name} has no key {key!r}")
    try:
        return base64.b64decode(config_map.binary_data[key], validate=True)
    except binascii.Error as error:
        raise MissingError(f"ConfigMap {name}: key {key!r} is not base64: {error}") from error


def _size(response: StaticResponse) -> int:
    return len(response.body or b"") + sum(len(file.body) for file in response.files)


def _responses(route: Route) -> Iterator[tuple[str, StaticResponse]]:
    """Every answer of a route, by its position."""
    for position, static in enumerate(route.static_routes):
        yield static_place(position), static.response
    if route.cold_start.placeholder is not None:
        yield PLACEHOLDER, route.cold_start.placeholder.response
    if route.maintenance is not None:
        yield MAINTENANCE, route.maintenance


def _at(route: Route, place: str) -> StaticResponse:
    return dict(_responses(route))[place]


def _with(route: Route, made: Mapping[str, StaticResponse]) -> Route:
    """The route with the answers at some positions replaced."""
    if not made:
        return route
    replace = msgspec.structs.replace
    cold, maintenance = route.cold_start, route.maintenance
    if cold.placeholder is not None and PLACEHOLDER in made:
        cold = replace(cold, placeholder=replace(cold.placeholder, response=made[PLACEHOLDER]))
    statics = tuple(
        replace(static, response=made.get(static_place(position), static.response))
        for position, static in enumerate(route.static_routes)
    )
    return replace(route, static_routes=statics, cold_start=cold, maintenance=made.get(MAINTENANCE, maintenance))
