"""The life of one request, and of the tunnel that it may become."""
