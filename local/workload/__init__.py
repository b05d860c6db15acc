"""What is written to the table: orders from real purchases, and orders that cannot be applied."""
