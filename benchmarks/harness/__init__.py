"""Shared parts of the benchmarks: records, clients, delivery, meters and rows of results."""
