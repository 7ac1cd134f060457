"""What a file of apps may say of the requests per second that one replica should carry. Values only."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, model_validator

from fleet.defaults import RATE_GRANULARITY
from fleet.routing.check import check_part
from fleet.routing.faults import RouteError
from fleet.routing.route import RateTarget
from weir.engine.fields import Amount, Follows, Model, PositiveSeconds, fault
from weir.engine.messages import FIELDS

__all__ = ["RateField", "RateSpec"]


def _rate(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"target": value}
    if not isinstance(value, dict | None):
        raise ValueError(f"should be a number of requests per second, or {FIELDS}")
    return value


class RateSpec(Model):
    """Requests per second per replica, averaged over a window."""

    target: Annotated[Amount, Follows(RateTarget, "target")]
    window: Annotated[PositiveSeconds, Follows(RateTarget, "window")] = 10.0
    """Short enough to follow a burst that one person makes. Objects for Kubernetes have the add-on's minute."""
    granularity: Annotated[PositiveSeconds, Follows(RateTarget, "granularity")] = RATE_GRANULARITY

    @model_validator(mode="after")
    def _parts_fit(self) -> RateSpec:
        try:
            check_part(RateTarget(self.target, self.window, self.granularity), "rate", partial(RouteError, ""))
        except RouteError as error:
            raise fault("granularity", error.reason, "window") from error
        return self


RateField = Annotated[RateSpec, BeforeValidator(_rate)] | None
