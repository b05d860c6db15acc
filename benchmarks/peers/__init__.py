"""The alternatives, written as their documentation shows."""
