"""Hours of everything at once, and the proof that nothing is left of it: see __main__.py."""
