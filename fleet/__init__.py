"""What every member of the fleet agrees on: routing, demand, discovery, and how a component runs."""
