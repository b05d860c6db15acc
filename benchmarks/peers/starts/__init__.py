"""Functions that cold starts are compared with, written as their documentation shows."""
