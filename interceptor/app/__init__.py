"""State that the requests of one application share."""
