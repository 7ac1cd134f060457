"""`weir release`: releases of Helm charts, by the Admin API."""
