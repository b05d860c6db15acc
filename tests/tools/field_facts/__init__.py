"""Facts 4, 5 and 10: see tests/infrastructure/field_facts."""
