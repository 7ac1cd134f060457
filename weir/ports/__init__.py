"""The commands of `weir port`."""
