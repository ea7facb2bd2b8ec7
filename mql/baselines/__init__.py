"""Methods that others have published, in the same loop as Meta-Q-Learning, to compare with (docs/baselines.md)."""
