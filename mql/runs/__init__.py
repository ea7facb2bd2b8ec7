"""The run directory and all that stands in it."""
