"""The built-in task families."""
