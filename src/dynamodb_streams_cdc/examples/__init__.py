"""Examples of the library at work; each is tested."""
