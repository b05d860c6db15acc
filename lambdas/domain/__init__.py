"""What the pipeline is about: orders. A fork edits these files, and the keys of its table."""
