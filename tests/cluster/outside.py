"""Two environment variables that tell the cluster tests that they cannot run. See tests.__main__."""

__all__ = ["OBSTACLE", "SKIP"]

OBSTACLE = "WEIR_CLUSTER_OBSTACLE"
"""The reason why they cannot run."""
SKIP = "WEIR_SKIP_CLUSTER"
"""1 if that is not a failure."""
