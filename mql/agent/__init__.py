"""What is learned, and how it acts."""
