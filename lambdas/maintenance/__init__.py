"""Scheduled function: verifies a part of the copies, and purges old tombstones."""
