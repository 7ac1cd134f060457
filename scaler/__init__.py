"""The metric plane: KEDA's ExternalScaler, answered from the merged demand of the fleet."""
