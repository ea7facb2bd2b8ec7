"""The loop that drives any learning method."""
