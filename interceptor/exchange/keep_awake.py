"""What an answer with Weir-Keep-Awake does: its backend keeps the application awake, or the field has no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interceptor.core.keep_awake import MALFORMED

if TYPE_CHECKING:
    from fleet.demand.ledger import Lease
    from interceptor.app.app import App
    from interceptor.backends.endpoint import Endpoint

__all__ = ["keep_awake"]

OFF: Final = "off"
INVALID: Final = "malformed"
UNCOUNTED: Final = "uncounted"
OTHERS: Final = "other_backend"
"""Why a field had no effect: the route does not permit it; it is no duration; the request is one of a static route, which keeps
nothing awake; the answer is a fallback's, or of a backend that is gone."""


def keep_awake(app: App, lease: Lease, endpoint: Endpoint, seconds: float, now: float) -> None:
    """An answer has the field. `app` is the application or the part of it that the request went to, `lease` the request's."""
    main, most = app.main, app.route.scaling.max_busy
    if seconds == MALFORMED:
        app.stats.keeping_ignored[INVALID] += 1
    elif not most:
        app.stats.keeping_ignored[OFF] += 1
    elif not lease.counts_for(main.entry):
        app.stats.keeping_ignored[UNCOUNTED] += 1
    elif endpoint.owner is not app.endpoints or endpoint.gone or main.removed:
        app.stats.keeping_ignored[OTHERS] += 1
    else:
        main.keeping.renew(endpoint, min(seconds, most), now)
