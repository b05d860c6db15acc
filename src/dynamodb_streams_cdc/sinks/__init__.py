"""The three sinks; the state of each is a function of the items' newest states."""
