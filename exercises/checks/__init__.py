"""What the exercises are checked with: steps, each with a sentence on what may be wrong."""
