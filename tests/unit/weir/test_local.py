"""Which `weir up` is meant, when several run and one does not answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from weir import local
from weir.apps.failure import NotDoneError
from weir.apps.here import _asked
from weir.running import Running


def engine(pid: int) -> Running:
    return Running(pid=pid, file=f"/{pid}.yaml", url="http://127.0.0.1:1", token="", state_directory="/")


def test_one_that_ends_hides_no_app_of_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ending, other = engine(1), engine(2)

    def ask(asked: Running, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if asked is ending:
            raise local.EngineSilent("weir up 1 does not answer")
        return {"apps": [{"app": "default/web"}]}

    monkeypatch.setattr(local, "engines", lambda of: [ending, other])
    monkeypatch.setattr(local, "ask_engine", ask)
    assert local.engine_with("web", None) is other
    with pytest.raises(local.EngineSilent):  # it may have the app
        local.engine_with("unknown", None)
    monkeypatch.setattr(local, "engines", lambda of: [other, other, ending])
    with pytest.raises(local.EngineError, match="several weir up") as raised:
        local.engine_with("web", None)
    assert not isinstance(raised.value, local.EngineSilent)


@pytest.mark.parametrize(("status", "code"), [(409, 5), (500, 1), (None, 7)])
def test_what_it_does_not_do_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, status: int | None, code: int) -> None:
    """As in a cluster: 5 for an app that is busy, 7 for what cannot be reached."""

    def answer(request: httpx.Request) -> httpx.Response:
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, json={"error": "default/web is busy: 1 request or connection"})

    monkeypatch.setattr(
        local, "engine_client", lambda one: httpx.Client(base_url=one.url, transport=httpx.MockTransport(answer), trust_env=False)
    )
    with pytest.raises(NotDoneError) as raised:
        _asked(engine(1), "sleep", {"name": "web"})
    assert raised.value.code == code
