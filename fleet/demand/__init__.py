"""How much is asked of each application. Pure: events and the time come in as arguments."""
