"""The event source mapping engine on real endpoints. Needs the extra `aws`."""
