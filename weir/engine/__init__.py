"""The local engine: takes the place of KEDA and Kubernetes for the applications of one file."""
