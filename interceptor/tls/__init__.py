"""TLS of the proxy: what is allowed, which certificates there are, and which one a client gets. Moves no bytes."""
