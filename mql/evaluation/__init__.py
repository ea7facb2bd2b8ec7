"""Held-out tasks, statistics, protocols."""
