"""The workload: orders from real purchases, and orders that cannot be applied."""
