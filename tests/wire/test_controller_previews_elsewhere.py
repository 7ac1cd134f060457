"""Previews whose copy is in another namespace, in a whole term of the controller: to whom requests are routed."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.preview.manifests import FROM_LABEL, UID_LABEL
from controller.settings import ControllerSettings
from fleet.routing.codec import decode_json
from fleet.runtime.settings import SettingsError
from tests.support.elsewhere import MADE, PREVIEW, ElsewhereApi, at, base
from tests.wire.test_controller import Rig, rig

FLAGS = ("--previews", "--preview-namespaces")
HOST = b"f1.web.example.com"


def copies(held: Rig) -> list[str]:
    """The applications of the copies of web in the table that interceptors have."""
    route = decode_json(held.table.read_bytes()).apps.get("shop/web") if held.table.exists() else None
    return [] if route is None or route.previews is None else [copy.app for copy in route.previews.copies]


def reason(held: Rig) -> str:
    return str(held.conditions(PREVIEW).get("Ready", {}).get("reason", ""))


async def test_requests_go_there_as_long_as_both_sides_permit_it(tmp_path: Path) -> None:
    api = ElsewhereApi()
    base(api)
    async with rig(api, tmp_path / "routes.json", 1, *FLAGS) as held:
        await held.until(lambda: decode_json(held.table.read_bytes()).apps if held.table.exists() else None)
        # Of somebody in the same namespace, who would like to be a preview of the other tenant's application.
        target = {"name": "evil", "service": "evil", "port": 80}
        claim = {"base": "web", "name": "f1", "namespace": "shop", "uid": "guessed"}
        api.put(at("qa", "httpscaledobjects", "evil"), spec={"previewOf": claim, "scaleTargetRef": target})
        await held.until_is(at("qa", "httpscaledobjects", "evil"), "Ready", "False")
        api.put(PREVIEW, spec={"base": "web", "namespace": "qa"})
        await held.until(lambda: copies(held) == ["qa/web--f1"])
        scaled = "/apis/keda.sh/v1alpha1/namespaces/qa/scaledobjects/web--f1"
        await held.until(lambda: scaled in api.objects)
        api.put(scaled, status={"conditions": [{"type": "Ready", "status": "True", "message": "fine"}]})
        await held.until_is(PREVIEW, "Ready", "True")
        table = decode_json(held.table.read_bytes())
        assert table.match(HOST, b"/", ()) is table.apps["shop/web"]
        assert table.apps["qa/web--f1"].target.service == "qa/web--f1"
        uid = api.objects[PREVIEW]["metadata"]["uid"]
        api.put(at("qa", "httpscaledobjects", "evil"), spec={"previewOf": claim | {"uid": uid}, "scaleTargetRef": target})
        await held.quiet()
        assert copies(held) == ["qa/web--f1"]

        api.namespace(permits=None)  # noticed at once: a full look is far away
        await held.until(lambda: copies(held) == [] and not set(MADE) & api.within("qa"))
        await held.until(lambda: reason(held) == "NotPermitted")
        api.namespace()
        await held.until(lambda: copies(held) == ["qa/web--f1"])
        api.put(at("shop", "deployments", "web"), spec=api.objects[at("shop", "deployments", "web")]["spec"] | {"paused": True})
        await held.until(lambda: api.objects[MADE[3]]["spec"].get("paused"))
        api.drop(MADE[3])
        await held.until(lambda: MADE[3] in api.objects)
        await held.quiet()
        api._delete(PREVIEW, None, "")
        await held.until(lambda: PREVIEW not in api.objects and copies(held) == [])
        assert not set(MADE) & api.within("qa")
        assert at("qa", "httpscaledobjects", "evil") in api.objects


async def test_what_a_preview_left_that_is_gone_is_deleted_by_the_controller_that_leads(tmp_path: Path) -> None:
    api = ElsewhereApi()
    base(api)
    labels = {UID_LABEL: "gone", FROM_LABEL: "shop"}
    left = at("qa", "deployments", "web--f0")
    api.put(left, apiVersion="apps/v1", kind="Deployment", spec={}, metadata={"labels": labels})
    async with rig(api, tmp_path / "routes.json", 1, *FLAGS) as held:
        await held.until(lambda: left not in api.objects)


async def test_the_next_leader_routes_to_it_from_its_first_table_on(tmp_path: Path) -> None:
    api, seen = ElsewhereApi(), list[list[str]]()
    base(api)
    api.put(PREVIEW, spec={"base": "web", "namespace": "qa"})
    async with rig(api, tmp_path / "routes.json", 1, *FLAGS) as held:
        await held.until(lambda: copies(held) == ["qa/web--f1"])
        await held.quiet()
    async with rig(api, tmp_path / "routes.json", 1, *FLAGS) as held:

        def serves() -> bool:
            seen.append(copies(held))
            return (
                f"{at('shop', 'httpscaledobjects', 'late')}" in api.objects
                and "shop/late" in decode_json(held.table.read_bytes()).apps
            )

        target = {"name": "late", "service": "late", "port": 80}
        api.put(at("shop", "httpscaledobjects", "late"), spec={"hosts": ["late.example.com"], "scaleTargetRef": target})
        await held.until(serves)
    assert all(found == ["qa/web--f1"] for found in seen)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--preview-namespaces",), "needs --previews"),
        (("--previews", "--preview-namespaces", "--namespaces", "shop,qa"), "needs all namespaces"),
    ],
)
def test_an_installation_for_single_namespaces_makes_none_in_others(flags: tuple[str, ...], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        ControllerSettings.load(flags)
    assert "WEIR_NAMESPACES" in ControllerSettings.load(["--previews", "--namespaces", "shop"]).why_not_elsewhere
    assert "WEIR_PREVIEW_NAMESPACES" in ControllerSettings.load(["--previews"]).why_not_elsewhere
    assert ControllerSettings.load(FLAGS).why_not_elsewhere == ""


async def test_where_it_is_off_namespaces_are_not_even_read(tmp_path: Path) -> None:
    api = ElsewhereApi()
    base(api)
    api.put(PREVIEW, spec={"base": "web", "namespace": "qa"})
    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        await held.until(lambda: reason(held) == "NotPermitted")
        assert api.within("qa") == set()
        assert not [path for path in api.reads if path.startswith("/api/v1/namespaces") and path.count("/") == 3]
