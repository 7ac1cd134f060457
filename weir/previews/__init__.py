"""The commands of `weir preview`."""
