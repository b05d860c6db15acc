"""The functions that cold starts are compared with, each as its maker's guide writes it."""
