"""Erases what is held of items that were deleted; the only one that may, in every store."""
