"""A message for each item that reaches a state. Deployed if an entity declares its notice."""
