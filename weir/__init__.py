"""The `weir` command, and the local engine, which takes the place of KEDA and Kubernetes on one machine."""
