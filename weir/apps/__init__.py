"""`weir app`: applications of a cluster, by the Admin API, and those of a running `weir up`, by its file."""
