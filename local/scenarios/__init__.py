"""Scenarios of the demo: injected faults, poison records, and the recovery from them."""
