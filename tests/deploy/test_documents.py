"""What the pages for people with a cluster name: files, settings and metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

import interceptor.metrics
import scaler.telemetry
from controller.resources import ObjectMeta
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.interceptor_route import InterceptorRouteSpec
from controller.settings import ControllerSettings
from controller.translate import of_http_scaled_object, of_interceptor_route
from fleet.routing.rules import treats
from interceptor.settings import InterceptorSettings
from scaler.settings import ScalerSettings
from tests.cluster.outside import SKIP
from tests.support.manifests import DEPLOY, ROOT

PAGES = [ROOT / name for name in ("docs/kubernetes.md", "docs/migration.md", "docs/rules.md", "README.md")]
COMPONENTS = (InterceptorSettings, ScalerSettings, ControllerSettings)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
REST_OF_A_ROUTE = {"target": {"service": "a", "port": 80}, "scalingMetric": {"concurrency": {"targetValue": 1}}}
VARIABLE = re.compile(r"(?<![A-Z_])WEIR_[A-Z_]+[A-Z]")
METRIC = re.compile(r"\bweir_(?:interceptor|scaler)_[a-z_]+[a-z]")

YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pages
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"(?<![\w/])deploy/[\w./-]+\w", page.read_text().replace("PATH/deploy", "deploy"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pages
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {f"WEIR_{field.upper()}" for component in COMPONENTS for field in component.model_fields}
    assert set(VARIABLE.findall(page.read_text())) - known - {SKIP} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/kubernetes.md"])
def test_the_custom_resource_shown_is_accepted(page: str) -> None:
    blocks = [yaml.safe_load(block) for block in YAML.findall((ROOT / page).read_text())]
    (shown,) = (block for block in blocks if block.get("kind") == "HTTPScaledObject")
    translated = of_http_scaled_object(
        ObjectMeta(name=shown["metadata"]["name"], namespace="default"), msgspec.convert(shown["spec"], HTTPScaledObjectSpec)
    )
    assert translated.route.app == "default/shop"


def test_the_tls_shown_is_accepted() -> None:
    blocks = [yaml.safe_load(block) for block in YAML.findall((ROOT / "docs" / "kubernetes.md").read_text())]
    (shown,) = (block["spec"] for block in blocks if "tls" in block.get("spec", {}).get("scaleTargetRef", {}))
    translated = of_http_scaled_object(ObjectMeta(name="shop", namespace="default"), msgspec.convert(shown, HTTPScaledObjectSpec))
    target, (authority,) = translated.route.target, translated.authorities
    assert (str(target.connects.spoken(None)), target.server_name) == ("HTTP/2 over TLS", "shop.internal")
    assert (authority.config_map, authority.key) == ("default/shop-ca", "ca.crt")


def test_metrics_that_are_named_exist() -> None:
    named = {name.removesuffix("_total") for page in PAGES for name in METRIC.findall(page.read_text())}
    assert len(named) > 5
    assert named - {family.name for family in (*interceptor.metrics.FAMILIES, *scaler.telemetry.FAMILIES)} == set()


@pytest.mark.parametrize("example", sorted((DEPLOY / "examples" / "kubernetes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_reported(example: Path) -> None:
    assert f"examples/kubernetes/{example.name}" in (ROOT / "docs" / "kubernetes.md").read_text()


def test_the_rules_shown_are_accepted() -> None:
    """Those of docs/rules.md: whole objects, and parts of them."""
    blocks = [yaml.safe_load(block) for block in YAML.findall((ROOT / "docs" / "rules.md").read_text())]
    assert len(blocks) > 4
    meta = ObjectMeta(name="shop", namespace="default")
    for block in blocks:
        spec = msgspec.convert(block.get("spec", {**REST_OF_A_ROUTE, **block}), InterceptorRouteSpec)
        assert treats(of_interceptor_route(meta, spec).route)
