"""Reflection finds the symbols that clients request: services and messages like protobuf, and methods."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool

from fleet.runtime.reflection import _MethodPool
from protos.externalscaler import externalscaler_pb2


@pytest.mark.parametrize(
    "symbol", ["externalscaler.ExternalScaler", "externalscaler.ExternalScaler.GetMetrics", "externalscaler.MetricSpec"]
)
def test_a_symbol_is_found_in_its_file(symbol: str) -> None:
    pool = _MethodPool(descriptor_pool.Default())
    assert pool.FindFileContainingSymbol(symbol).name == externalscaler_pb2.DESCRIPTOR.name


@pytest.mark.parametrize("symbol", ["externalscaler.Nothing", "externalscaler.Nothing.GetMetrics", "", "GetMetrics"])
def test_an_unknown_symbol_is_reported_as_protobuf_does(symbol: str) -> None:
    with pytest.raises(KeyError):
        _MethodPool(descriptor_pool.Default()).FindFileContainingSymbol(symbol)
