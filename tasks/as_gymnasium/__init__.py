"""Every family as an environment of Gymnasium, for other libraries: one at a time and as a batch."""
