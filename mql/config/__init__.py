"""Configurations: schema, files, messages."""
