"""Previews by the Admin API."""
