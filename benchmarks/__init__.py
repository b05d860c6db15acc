"""Benchmarks against alternatives; all variants take turns in one run."""
