"""Any Gymnasium environment as a family."""
