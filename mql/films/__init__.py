"""Films and pictures of tasks and agents: what an episode looks like."""
