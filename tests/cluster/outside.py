"""How the cluster tests learn that they cannot run: two environment variables. See tests.__main__."""

__all__ = ["OBSTACLE", "SKIP"]

OBSTACLE = "WEIR_CLUSTER_OBSTACLE"
"""Why they cannot run."""
SKIP = "WEIR_SKIP_CLUSTER"
"""1 where that is no failure."""
