"""The laptop stack: services on loopback, the deployed app, a workload, and the checker."""
