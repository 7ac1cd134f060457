"""Where things are: the routing table, the backends, the members of the fleet."""
