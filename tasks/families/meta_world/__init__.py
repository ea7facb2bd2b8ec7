"""Families on Meta-World."""
