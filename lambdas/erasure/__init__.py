"""Erases what is held of items that were deleted; the only function that may delete."""
