"""The deployed functions: one folder each, wired from settings. A fork edits `domain`."""
