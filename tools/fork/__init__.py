"""A fork of this repository, made and checked in a temporary folder."""
