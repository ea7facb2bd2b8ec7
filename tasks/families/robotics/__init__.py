"""Families on Gymnasium-Robotics."""
