"""Weir on a real control plane with a real KEDA, pods as local processes; every test here runs inside a namespace of its own."""
