"""Backends outside of discovery: the addresses of DNS names, and fixed lists."""
