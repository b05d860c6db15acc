"""Three functions to write, and checks that say in words what is still wrong with them."""
