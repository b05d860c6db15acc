"""Side by side with what people would use instead, all variants taking turns in one run."""
