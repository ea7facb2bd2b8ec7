"""Many runs as one experiment: families, methods, variants of settings and seeds."""
