"""PEARL (Rakelly et al. 2019, arXiv 1903.08254) as a method of the same loop."""
