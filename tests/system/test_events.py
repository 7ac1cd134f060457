"""What `weir up` tells a webhook of its apps: wakes, readiness, failures and sleep."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system.harness import app, fetch, fleet, running_up, until
from tests.wire.test_events import Receiver


@pytest.fixture
async def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    made = await Receiver().start()
    monkeypatch.setenv("WEIR_EVENTS_WEBHOOK", made.url)
    yield made
    await made.stop()


def told(receiver: Receiver) -> list[str]:
    return [head["ce-type"].rpartition(".")[2] for head, _ in receiver.received]


async def test_a_wake_and_a_sleep(tmp_path: Path, receiver: Receiver) -> None:
    async with running_up(tmp_path, fleet(app("web", scale_down_window=0))) as up:
        assert told(receiver) == []
        for _ in range(3):
            assert (await fetch(up.port, "web.localhost")).status == 200
        await until(lambda: told(receiver) == ["wake", "ready", "sleep"], what="three events")
    head, body = receiver.received[1]
    assert head["ce-subject"] == "default/web"
    found = json.loads(body)
    assert found["app"] == "default/web"
    assert 0 < found["seconds"] < 60
    assert len(set(receiver.ids())) == 3
    assert told(receiver) == ["wake", "ready", "sleep"], "the end of weir up is no sleep"


async def test_a_wake_that_fails(tmp_path: Path, receiver: Receiver) -> None:
    file = fleet(app("bad", command="exit 7"), interceptor={"readiness_timeout": 5})
    async with running_up(tmp_path, file) as up:
        assert (await fetch(up.port, "bad.localhost")).status in (503, 504)
        await until(lambda: told(receiver)[:2] == ["wake", "failed"], what="two events")
        assert "7" in json.loads(receiver.received[1][1])["reason"]


async def test_a_webhook_that_is_gone_harms_nothing(tmp_path: Path, receiver: Receiver) -> None:
    await receiver.stop()
    async with running_up(tmp_path, fleet(app("web"))) as up:
        assert (await fetch(up.port, "web.localhost")).status == 200
        await up.logs("events to http://127.0.0.1:")
        assert up.log.count("it is tried again") == 1
