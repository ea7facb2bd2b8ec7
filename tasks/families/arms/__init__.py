"""A seven-joint arm that reaches, pushes, pulls and inserts."""
