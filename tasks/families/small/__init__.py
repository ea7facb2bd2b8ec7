"""Small problems for tests and first steps."""
