"""The laptop stack: real engines on loopback, the app deployed to them, orders, and a verdict."""
