"""Demand per application. Pure: events and the time come in as arguments."""
