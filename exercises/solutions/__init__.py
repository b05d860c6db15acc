"""One solution of each exercise."""
