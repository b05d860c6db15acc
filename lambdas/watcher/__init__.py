"""Scheduled function: writes the canary and counts the dead letters."""
