"""Worker processes on the nodes of a Ray cluster (the extra `cluster`; nothing else of this package imports Ray)."""
