"""Shared by all planes: routing, demand, discovery, and the runtime of a component."""
