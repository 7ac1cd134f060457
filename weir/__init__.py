"""The `weir` command, and the local engine that plays KEDA and Kubernetes on one machine."""
