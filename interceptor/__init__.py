"""Data plane: receives requests, holds or forwards them, and counts the demand with leases."""
