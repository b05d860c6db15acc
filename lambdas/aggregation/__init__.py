"""Sums over the orders, in the aggregates table."""
