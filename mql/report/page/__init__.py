"""The report of runs: one HTML page, and the tables and figures of a paper."""
