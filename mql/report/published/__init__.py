"""Published results: the folder `results/`, and the page, table and pictures that are made from it alone."""
