"""Leases of ports: who has which port of the interceptors, kept in the cluster, and the Services that lead there."""
