"""The deployed functions: one folder each, wired from settings; what a fork edits is `domain`."""
