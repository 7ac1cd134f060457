"""Discovery on Kubernetes: the routing table of a ConfigMap, the backends of Services, the members of the fleet.

Importing these modules imports no client: that costs 45 MB, and whoever runs without Kubernetes shall not pay them.
"""
