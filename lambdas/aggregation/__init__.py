"""Sums over the items, in the aggregates table."""
