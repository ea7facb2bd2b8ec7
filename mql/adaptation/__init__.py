"""What is done for a new task."""
