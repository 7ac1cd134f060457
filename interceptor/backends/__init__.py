"""State that the requests of one target share: its backends, the connections to them, and whether they are trusted."""
