"""What an action does."""
