"""The domain: orders. A fork edits these files, and the keys of its table."""
