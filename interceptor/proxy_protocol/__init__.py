"""The PROXY protocol: load balancers of TCP say in front of a connection's bytes which address the client has."""
