"""One command against a cluster: where it goes, what is told when it is interrupted or takes too long, and its exit code."""

from __future__ import annotations

from collections.abc import Callable

from fleet.runtime.terminal import complain
from weir.apps.admin_client import AdminClient
from weir.apps.failure import INTERRUPTED, NOT_YET, NotDoneError
from weir.apps.where import Where, opened_cluster

__all__ = ["in_cluster"]


def in_cluster(where: Where, what: str, act: Callable[[AdminClient, str], int], *, more: Callable[[str], str]) -> int:
    """Act with a client and a namespace; returns the exit code. `what` is meant by the command, such as "previews", and `more`
    says of a namespace how to see what goes on without the command."""
    is_open, hint = False, ""
    try:
        with opened_cluster(where, what=what) as (client, namespace, place):
            complain(f"on {place}")
            hint = more(namespace)
            try:
                return act(client, namespace)
            except KeyboardInterrupt:
                is_open = client.is_sent
                raise
            except NotDoneError as error:
                if error.code == NOT_YET:
                    raise NotDoneError(*error.lines, hint, code=NOT_YET) from error
                raise
    except KeyboardInterrupt:
        complain(f"interrupted: {hint}" if is_open else "interrupted")
        return INTERRUPTED
    except NotDoneError as error:
        for line in error.lines:
            complain(line)
        return error.code
