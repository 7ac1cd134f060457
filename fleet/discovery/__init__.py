"""Discovery: where the routing table, the backends and the interceptors come from."""
