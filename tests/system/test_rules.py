"""Rules of `weir up`, seen from outside: one app in front of others, which wake and sleep with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.harness import app, fetch, fleet, running_up, until

HOST = "shop.localhost"


def named(name: str, **fields: Any) -> dict[str, Any]:
    """An app that tells its name."""
    return app(name, env={"VERSION": name}, **fields)


def shop(*rules: dict[str, Any]) -> dict[str, Any]:
    whole = named("shop", rules=[{"hosts": [HOST], **rule} for rule in rules])
    del whole["hosts"]
    return whole


async def test_backends_of_rules_wake_and_sleep_with_the_app(tmp_path: Path) -> None:
    rules: tuple[dict[str, Any], ...] = (
        {"paths": ["/grpc"], "rewrite": {"prefix": "/"}, "backends": [{"service": "grpc"}]},
        {"paths": ["/old"], "redirect": {"prefix": "/new"}},
        {},
    )
    async with running_up(tmp_path, fleet(shop(*rules), named("grpc"))) as up:
        assert (await fetch(up.port, HOST, "/old/x")).status == 302
        assert not up.backends("shop")
        answer = await fetch(up.port, HOST, "/grpc/sleep/0.5")  # it sleeps if it reads /sleep/0.5
        assert (answer.status, answer.body.split()[1]) == (200, "grpc")
        assert (await fetch(up.port, HOST, "/grpc/sleep/0.5")).seconds >= 0.5
        assert len(up.backends("grpc")) == 1
        await until(lambda: not up.backends("grpc") and not up.backends("shop"), what="asleep again")
        up.write(fleet(shop({"backends": [{"service": "third"}]}), named("grpc"), named("third")))
        await until(lambda: "default/third" in (up.state / "routes.json").read_text(), what="the new rules")
        assert (await fetch(up.port, HOST)).body.split()[1] == "third"
        assert not up.backends("grpc")
