"""The Admin API: applications from one call, over HTTP with JSON, on a port of its own."""
