"""Methods to compare Meta-Q-Learning with, a folder each."""
