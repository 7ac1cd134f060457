"""Metric plane: KEDA's ExternalScaler over the merged demand of the fleet."""
