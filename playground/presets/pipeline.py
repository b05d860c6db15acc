"""The three sinks of this project run here: aggregation, audit and search."""
