"""Episodes that were recorded elsewhere: read, checked, brought into a family's form, and written."""
