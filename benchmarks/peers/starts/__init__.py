"""The function that cold starts are compared with."""
