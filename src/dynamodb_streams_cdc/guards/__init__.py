"""Guards of a processor: they tell bad records from bad code, a bad source and a dying function."""
