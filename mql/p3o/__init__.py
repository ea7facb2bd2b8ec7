"""P3O (Fakoor, Chaudhari and Smola 2019, arXiv 1905.01756): A2C with off-policy steps as far as old data allow."""
