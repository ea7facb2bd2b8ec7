"""How many tasks advance together."""
