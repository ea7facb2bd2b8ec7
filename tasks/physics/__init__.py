"""Changes of a model's physics."""
