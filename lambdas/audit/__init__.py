"""Every change of the audited items, in the change log."""
