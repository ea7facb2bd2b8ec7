"""The language of rewards and successes."""
