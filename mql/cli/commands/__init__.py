"""The arguments of every command, one file per group; a command's work is imported when it runs."""
