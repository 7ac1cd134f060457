"""Connections of TCP ports: bytes that are passed on as they are."""
