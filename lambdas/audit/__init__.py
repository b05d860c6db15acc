"""Every change of every order, in the change log."""
