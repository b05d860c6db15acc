"""The workload: sample stories of the domain, their writer, and poison."""
