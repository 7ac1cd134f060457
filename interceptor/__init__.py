"""Data plane: requests in, requests out, leases in between."""
