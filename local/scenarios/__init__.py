"""What goes wrong meanwhile: faults, poison records, and the recovery from them."""
