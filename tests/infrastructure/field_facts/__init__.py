"""What real AWS does that no emulator shows: one fact, one file, with its source."""
