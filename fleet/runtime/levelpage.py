"""The page /logging of the diagnostics: GET shows the levels of the log, POST changes one. The only page that changes anything.

Pages of other sites must not be able to change it through a browser (CSRF): a POST must have the type application/json, which a
browser sends to another site only after a preflight, which is never answered; and a request with a field Origin, which a browser
adds to every POST, is refused.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec
from starlette.requests import Request

from fleet.runtime.logs import UnknownLogger, set_level
from fleet.runtime.settings import SettingsError

__all__ = ["MAX_BODY_BYTES", "Refused", "change_level"]

MAX_BODY_BYTES: Final = 4096
_JSON: Final = "application/json"
_log = logging.getLogger(__name__)


class Refused(Exception):
    """The request changes nothing: `status` and a line that says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be changed: the level of the whole log, or of one logger; null has that logger follow the others again."""

    level: str | None
    logger: str = ""


async def change_level(request: Request) -> None:
    """Do as a POST says. Raises Refused."""
    _refuse_browsers(request)
    try:
        order = msgspec.json.decode(await _body(request), type=_Order)
        set_level(order.level, order.logger)
    except (msgspec.DecodeError, SettingsError, UnknownLogger) as error:
        raise Refused(400, str(error)) from error
    of = f" of {order.logger}" if order.logger else ""
    _log.warning("the level of the log%s was set to %s by a request to /logging", of, (order.level or "that of all").lower())


def _refuse_browsers(request: Request) -> None:
    fields = request.headers
    if "origin" in fields or "sec-fetch-site" in fields:
        raise Refused(403, "not from a browser: use curl")
    if fields.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        raise Refused(415, f"the Content-Type has to be {_JSON}")


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, f"more than {MAX_BODY_BYTES} bytes")
    return body
