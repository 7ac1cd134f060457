"""What both custom resources say of previews of a workload. Which there are, Preview objects say."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from controller.schema.common import Name, follows
from fleet import defaults
from fleet.routing.previews import COPY_NAME, DOT, HOST_PATTERNS
from fleet.routing.previews import Previews as Declared

__all__ = ["PreviewName", "PreviewOf", "Previews"]

PreviewName = Annotated[str, Meta(pattern=COPY_NAME.pattern, min_length=1, max_length=COPY_NAME.max_length)]

_SET: Final = Meta(extra_json_schema={"x-kubernetes-list-type": "set"})


class Previews(msgspec.Struct, frozen=True, rename="camel"):
    """How requests choose among the previews of a workload, and how the choice is carried on."""

    header: Annotated[Name, follows(Declared, "header")] = defaults.CONTEXT_HEADER
    baggage: Annotated[Name | None, follows(Declared, "baggage")] = None
    cookie: Annotated[Name | None, follows(Declared, "cookie")] = None
    set_cookie: Annotated[bool, follows(Declared, "set_cookie")] = False
    hosts: Annotated[
        Annotated[tuple[Literal["{name}.{baseHost}", "{name}--{baseHost}"], ...], Meta(max_length=len(HOST_PATTERNS))],
        follows(Declared, "hosts"),
        _SET,
    ] = (DOT,)
    unknown: Annotated[Literal["base", "refuse"], follows(Declared, "unknown")] = "base"


class PreviewOf(msgspec.Struct, frozen=True):
    """Makes the object a preview of another one, which says how its requests are found and treated."""

    base: Annotated[Name, Meta(description="The HTTPScaledObject or InterceptorRoute in the same namespace.")]
    name: Annotated[PreviewName, Meta(description="Name of the preview, which requests choose it by.")]
    namespace: Annotated[
        Name | None,
        Meta(
            description="Another namespace in which the base is. It is one only if a Preview of that namespace says so in its "
            "status: the controller writes both."
        ),
    ] = None
    uid: Annotated[Name | None, Meta(description="With namespace: that of this Preview.")] = None
