"""The robots: specs, models and constants."""
