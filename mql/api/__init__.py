"""What `mql` offers to programs: train, open a run, adapt, evaluate, act. The command line is a thin layer over it."""
