"""Releases of Helm charts by the Admin API: the real helm, kept within what the caller may do."""
