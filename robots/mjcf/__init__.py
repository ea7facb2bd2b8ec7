"""Reading and compiling MJCF."""
