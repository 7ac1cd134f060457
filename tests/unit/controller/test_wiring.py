"""Errors in a ScaledObject's triggers: facts in, messages out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.autoscalers import ScaledObject, parse_scaled_object
from controller.wiring import Scaler, miswiring, wired

SCALER = Scaler("weir-scaler.weir-system.svc:9091")
OURS = {"scalerAddress": SCALER.address}
THEIRS = {"scalerAddress": "keda-add-ons-http-external-scaler.keda:9090"}
CRON = {"type": "cron", "metadata": {"timezone": "UTC", "app": "web"}}


def written(*triggers: dict[str, Any], **spec: Any) -> ScaledObject:
    whole = {"metadata": {"name": "so", "namespace": "shop"}, "spec": {"triggers": [*triggers], **spec}}
    return parse_scaled_object(json.dumps(whole).encode())


def push(**metadata: str) -> dict[str, Any]:
    return {"type": "external-push", "metadata": metadata}


def find(app: str) -> str | None:
    return {"shop/web": "", "shop/bad": "spec.rules: wrong"}.get(app)


@pytest.mark.parametrize(
    ("triggers", "reason", "message"),
    [
        ([push(**OURS, interceptorRoute="web")], "", ""),
        ([push(**OURS, app="shop/web")], "", ""),
        ([push(**OURS, interceptorTargetPendingRequests="9")], "", ""),
        ([push(**OURS, interceptorRoute="nowhere")], "NoSuchRoute", "no InterceptorRoute shop/nowhere"),
        ([push(**OURS, httpScaledObject="nowhere")], "NoSuchRoute", "no HTTPScaledObject shop/nowhere"),
        ([push(**OURS, app="nowhere")], "NoSuchRoute", "no InterceptorRoute or HTTPScaledObject shop/nowhere"),
        ([push(**OURS, interceptorRoute="bad")], "RouteNotServed", "InterceptorRoute shop/bad is not served: spec.rules: wrong"),
        (
            [push(**THEIRS, httpScaledObject="web")],
            "OtherScaler",
            f"its scaler is {THEIRS['scalerAddress']}, which is not this one (weir-scaler.weir-system.svc:9091)",
        ),
        ([push(interceptorRoute="web")], "OtherScaler", "its scaler is not named, which"),
        ([push(**OURS)], "NoApplication", "names no application"),
        ([push(**OURS, app="a", interceptorRoute="web")], "NoApplication", "app=a, interceptorRoute=web"),
        ([push(**OURS, app="bank/vault")], "OtherNamespace", "names bank/vault, and may only name what is in namespace shop"),
        ([CRON, push(**OURS, interceptorRoute="nowhere")], "NoSuchRoute", "no InterceptorRoute"),
        # Triggers of other scalers are ignored.
        ([push(**THEIRS, app="x")], "", ""),
        ([push(scalerAddress="redis-scaler:6000", queue="q")], "", ""),
        ([CRON], "", ""),
        ([], "", ""),
    ],
)
def test_what_is_wrong_is_named(triggers: list[dict[str, Any]], reason: str, message: str) -> None:
    trouble = miswiring(written(*triggers), SCALER, find)
    assert (trouble.reason if trouble else "") == reason
    assert message in (trouble.message if trouble else "")


def test_a_trigger_of_the_addons_old_form_is_reported_with_the_reason() -> None:
    trouble = miswiring(written(push(**OURS, hosts="web.example.com")), SCALER, find)
    assert trouble is not None
    assert trouble.message.endswith("it needs interceptorRoute, httpScaledObject or app; hosts means nothing here")


def test_a_trigger_that_is_polled_is_reported_and_scales_all_the_same() -> None:
    polled = written({"type": "external", "metadata": {**OURS, "interceptorRoute": "web"}})
    trouble = miswiring(polled, SCALER, find)
    assert trouble is not None
    assert trouble.reason == "SlowTrigger"
    assert wired(polled, SCALER, "shop/web") is None


def test_a_scaler_that_speaks_tls_is_not_asked_in_plain_text() -> None:
    scaler = Scaler(SCALER.address, "weir")
    trouble = miswiring(written(push(**OURS, interceptorRoute="web")), scaler, find)
    assert trouble is not None
    assert trouble.reason == "NoTLS"
    assert miswiring(written(push(**OURS, interceptorRoute="web", enableTLS="true")), scaler, find) is None


@pytest.mark.parametrize(
    "address",
    [
        "weir-scaler.weir-system.svc:9091",
        "weir-scaler.weir-system:9091",
        "weir-scaler.weir-system.svc.cluster.local:9091",
        "Weir-Scaler.weir-system.svc.cluster.local.:9091",
        " dns:///weir-scaler.weir-system.svc:9091",
    ],
)
def test_one_address_has_many_forms(address: str) -> None:
    assert SCALER.is_at(address)


@pytest.mark.parametrize(
    "address", ["", "weir-scaler.weir-system.svc:9090", "weir-scaler.other.svc:9091", "weir-scaler:9091", ":9091", "weir-scaler"]
)
def test_another_address_is_another(address: str) -> None:
    assert not SCALER.is_at(address)


def test_an_alias_is_as_good() -> None:
    scaler = Scaler(SCALER.address, aliases=("keda-add-ons-http-external-scaler.keda:9090",))
    assert miswiring(written(push(**THEIRS, httpScaledObject="web")), scaler, find) is None
    assert wired(written(push(**THEIRS, httpScaledObject="web")), scaler, "shop/web") is None


def test_what_names_an_application_scales_by_it_or_does_not() -> None:
    assert wired(written(push(**OURS, app="web")), SCALER, "shop/web") is None
    # A trigger that names one of our applications is meant for this scaler, by whichever of these keys.
    for key in ("app", "interceptorRoute", "httpScaledObject"):
        trouble = wired(written(push(**THEIRS, **{key: "web"})), SCALER, "shop/web")
        assert trouble is not None
        assert trouble.reason == "OtherScaler"
    assert wired(written(push(**THEIRS, app="web"), push(**OURS, app="web")), SCALER, "shop/web") is None


def test_only_triggers_that_ask_a_scaler_name_an_application() -> None:
    assert written(CRON).apps == frozenset()


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["scalerAddress", "app", "interceptorRoute", "httpScaledObject", "enableTLS"]),
            st.sampled_from(["", " ", "web", "a/b", "a/b/c", SCALER.address, "x" * 300]),
        ),
        max_size=3,
    )
)
def test_whatever_a_trigger_says_is_judged(metadata: list[dict[str, str]]) -> None:
    trouble = miswiring(written(*(push(**one) for one in metadata)), SCALER, find)
    assert trouble is None or (trouble.reason.isalpha() and trouble.message)


def test_a_broken_spec_is_no_trouble_of_ours() -> None:
    assert miswiring(written(triggers="none"), SCALER, find) is None
    assert miswiring(written(triggers=[{"metadata": {"app": 1}}]), SCALER, find) is None
