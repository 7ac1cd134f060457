"""Weir on a real control plane with a real KEDA; pods are local processes. Tests run inside separate Linux namespaces."""
