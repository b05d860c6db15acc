"""The three sinks: what each stores of an item is a function of the item's newest state."""
