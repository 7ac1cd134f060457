"""From what a custom resource says of the requests of a rule to the fields of that rule. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from controller.answers import rule_of
from controller.schema.rules import Backend, RouteRule
from controller.schema.rules import HeaderChanges as HeaderChangesSpec
from controller.schema.rules import Redirect as RedirectSpec
from controller.schema.rules import Rewrite as RewriteSpec
from controller.targets import outside_or_service
from fleet.routing.route import HeaderChanges, Redirect, Rewrite, Rule, WeightedTarget

__all__ = ["RuleMaker"]


class Treated(Protocol):
    """A rule of an object, or an HTTPScaledObject, which can be one rule itself."""

    @property
    def rewrite(self) -> RewriteSpec | None: ...
    @property
    def request_headers(self) -> HeaderChangesSpec | None: ...
    @property
    def response_headers(self) -> HeaderChangesSpec | None: ...
    @property
    def redirect(self) -> RedirectSpec | None: ...
    @property
    def backends(self) -> Sequence[Backend] | None: ...


class RuleMaker:
    """Makes the rules of one object."""

    def __init__(self, namespace: str, *, direct: bool | None) -> None:
        """`direct` as the object says it of all its Services."""
        self._namespace, self._direct = namespace, direct

    def rule(self, given: RouteRule) -> Rule:
        return self.treated(rule_of(given), given)

    def treated(self, rule: Rule, given: Treated) -> Rule:
        """The rule, with what is said of its requests."""
        rewrite = given.rewrite
        return msgspec.structs.replace(
            rule,
            rewrite=None if rewrite is None else Rewrite(rewrite.prefix),
            request_headers=_changes(given.request_headers),
            response_headers=_changes(given.response_headers),
            redirect=None if given.redirect is None else _redirect(given.redirect),
            backends=tuple(self._backend(backend) for backend in given.backends or ()),
        )

    def _backend(self, given: Backend) -> WeightedTarget:
        plain = outside_or_service(self._namespace, given, direct=self._direct)
        return WeightedTarget(**msgspec.structs.asdict(plain), weight=given.weight)


def _changes(given: HeaderChangesSpec | None) -> HeaderChanges | None:
    """In the order of their names, for a map has none."""
    if given is None:
        return None
    return HeaderChanges(tuple(sorted((given.set or {}).items())), tuple(sorted((given.add or {}).items())), given.remove or ())


def _redirect(given: RedirectSpec) -> Redirect:
    return Redirect(given.scheme, given.host, given.port, given.path, given.prefix, given.status_code)
