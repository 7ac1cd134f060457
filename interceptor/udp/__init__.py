"""Datagrams of UDP ports, in flows."""
