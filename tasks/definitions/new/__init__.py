"""Skeletons of new definitions."""
