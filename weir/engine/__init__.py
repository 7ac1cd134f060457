"""The local engine: plays KEDA and Kubernetes for the applications of one file."""
