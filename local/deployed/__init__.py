"""The deployed app: deployment, event source mappings, resources, dead letters, commands."""
