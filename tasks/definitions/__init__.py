"""Families from YAML files."""
