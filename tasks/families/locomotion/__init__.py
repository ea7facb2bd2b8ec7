"""Bodies that run and walk."""
