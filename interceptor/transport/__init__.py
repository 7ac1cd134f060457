"""Bytes between this process and its peers. Nothing else touches a file descriptor."""
