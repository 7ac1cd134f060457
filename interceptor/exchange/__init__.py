"""One request from routing to its end, and the tunnel that it may become."""
