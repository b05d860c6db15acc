"""The app as it is deployed on this machine, and the event source mappings that it runs on."""
