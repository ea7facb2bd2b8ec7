"""Episodes of a policy in tasks."""
